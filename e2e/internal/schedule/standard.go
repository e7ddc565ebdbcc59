package schedule

import (
	"slices"
	"time"
)

// The actions of the standard schedule.
const (
	// Kill: SIGKILL to one process, which is started again after the event's length.
	Kill = "kill"
	// Pause: SIGSTOP to one process, SIGCONT after the event's length.
	Pause = "pause"
	// KillReplicas and PauseReplicas do the same to every process of one kind.
	KillReplicas  = "kill replicas"
	PauseReplicas = "pause replicas"
	// KillEverything: SIGKILL to all processes at once.
	KillEverything = "kill everything"
	// KillInComplete: SIGKILL to a sink as soon as a CompleteMultipartUpload is on its way to S3.
	KillInComplete = "kill inside complete"
	// KillAfterUpload: SIGKILL to a sink as soon as S3 has taken an object, before the sink hears of it.
	KillAfterUpload = "kill after upload"
	// S3Storm: S3 fails far more often than otherwise, in every way.
	S3Storm = "S3 storm"
	// SearchStorm: a search node fails far more often than otherwise, in every way.
	SearchStorm = "search storm"
	// BlockWrites: the indices of a search node refuse every document.
	BlockWrites = "block writes"
	// KillInBulk: SIGKILL to a sink as soon as a bulk request is on its way to a search node.
	KillInBulk = "kill inside bulk"
	// KillAfterBulk: SIGKILL to a sink as soon as a node has carried a bulk request out, before the sink hears of it.
	KillAfterBulk = "kill after bulk"
	// PauseInBulk: SIGSTOP to a sink as soon as a bulk request is on its way to a search node, SIGCONT after the event's length, or sooner.
	PauseInBulk = "pause inside bulk"
	// RefuseBulk: the next bulk request that is large enough is refused as too large.
	RefuseBulk = "refuse bulk"
	// RefuseDocuments: the next bulk request that has several documents is carried out but for some, which are refused.
	RefuseDocuments = "refuse documents"
	// LoseAnswer: the next bulk request is carried out, and its answer lost.
	LoseAnswer = "lose answer"
	// TruncateAnswer: the next bulk request is carried out, and half of its answer lost.
	TruncateAnswer = "truncate answer"
	// WireStorm: the connections to a database fail far more often than otherwise, in every way.
	WireStorm = "wire storm"
	// KillInCopy: SIGKILL to a loader as soon as a COPY of its is on its way to the database.
	KillInCopy = "kill inside copy"
	// KillAfterCopy: SIGKILL to a loader as soon as its COPY was carried out, before the loader hears of it.
	KillAfterCopy = "kill after copy"
	// PauseInCopy: SIGSTOP to a loader as soon as a COPY of its is on its way, SIGCONT after the event's length, or sooner.
	PauseInCopy = "pause inside copy"
	// RepeatInCopy: a COPY takes long at a stand-in that does not notice that its client is cut off, and is asked for again meanwhile.
	RepeatInCopy = "repeat inside copy"
	// LoseCopy: the next COPY is carried out, and its answer lost.
	LoseCopy = "lose answer to copy"
	// TruncateCopy: the next COPY is carried out, and the connection breaks in the middle of its answer.
	TruncateCopy = "truncate answer to copy"
	// CutCopy: the next COPY is on its way to the database when the connection breaks.
	CutCopy = "cut inside copy"
	// LoseManifest: the next manifest that a loader writes is written, and the answer lost.
	LoseManifest = "lose answer to manifest"
	// KillDatabaseInside: SIGKILL to the database between a COPY and its COMMIT.
	KillDatabaseInside = "kill database before commit"
	// PauseStandInInside: SIGSTOP to a stand-in between a COPY and its COMMIT, SIGCONT after the event's length, or sooner.
	PauseStandInInside = "pause stand-in before commit"
	// KillGivingUp: SIGKILL to a loader that is about to set objects aside because tables are away, which are back before anybody
	// tries the objects again. KillSetAside: when it has just done so.
	KillGivingUp = "kill giving objects up"
	KillSetAside = "kill with objects set aside"
	// HideTable: a table has another name for a while.
	HideTable = "hide table"
	// Reconfigure: the configuration of a delivery stream is changed under load.
	Reconfigure = "reconfigure"
)

// Standard returns the actions that every fault run has. Sinks are the kinds of process that upload.
//
// Most pauses are shorter than the times after which the services give up on each other and some are longer, because
// a process that wakes after it was given up is the hardest to get right.
func Standard(sinks ...string) []Action {
	ms := time.Millisecond
	return []Action{
		{Name: Kill, Reach: One, MinLength: 0, MaxLength: 3000 * ms, Weight: 4},
		{Name: Pause, Reach: One, MinLength: 100 * ms, MaxLength: 12000 * ms, Weight: 4},
		{Name: KillReplicas, Reach: Replicas, MinLength: 0, MaxLength: 4000 * ms},
		{Name: PauseReplicas, Reach: Replicas, MinLength: 100 * ms, MaxLength: 6000 * ms},
		{Name: KillEverything, Reach: Everything, MinLength: 0, MaxLength: 2000 * ms},
		{Name: KillInComplete, Reach: One, Kinds: sinks, MinLength: 1000 * ms, MaxLength: 6000 * ms},
		{Name: KillAfterUpload, Reach: One, Kinds: sinks, MinLength: 1000 * ms, MaxLength: 6000 * ms},
		{Name: S3Storm, Reach: Nothing, MinLength: 1000 * ms, MaxLength: 8000 * ms, Weight: 2},
		{Name: Reconfigure, Reach: Nothing, Weight: 2},
	}
}

// Search returns the actions that concern a search node. Sinks are the kinds of process that index, nodes those that are
// indexed into; a node is blocked only while nothing else is done to it.
func Search(sinks, nodes []string) []Action {
	ms := time.Millisecond
	return []Action{
		{Name: SearchStorm, Reach: Nothing, MinLength: 1000 * ms, MaxLength: 8000 * ms, Weight: 3},
		{Name: BlockWrites, Reach: One, Kinds: nodes, MinLength: 500 * ms, MaxLength: 6000 * ms, Weight: 2},
		{Name: KillInBulk, Reach: One, Kinds: sinks, MinLength: 1000 * ms, MaxLength: 6000 * ms, Weight: 2},
		{Name: KillAfterBulk, Reach: One, Kinds: sinks, MinLength: 1000 * ms, MaxLength: 6000 * ms, Weight: 2},
		{Name: PauseInBulk, Reach: One, Kinds: sinks, MinLength: 500 * ms, MaxLength: 9000 * ms, Weight: 2},
		{Name: RefuseBulk, Reach: Nothing, MinLength: 1000 * ms, MaxLength: 4000 * ms},
		{Name: RefuseDocuments, Reach: Nothing, MinLength: 1000 * ms, MaxLength: 4000 * ms},
		{Name: LoseAnswer, Reach: Nothing, MinLength: 1000 * ms, MaxLength: 4000 * ms},
		{Name: TruncateAnswer, Reach: Nothing, MinLength: 1000 * ms, MaxLength: 4000 * ms},
	}
}

// Warehouse returns the actions that concern a database. Of loaders one is hurt at a time, whichever has the COPY that is next.
func Warehouse(loaders, standIns, databases []string) []Action {
	ms := time.Millisecond
	return []Action{
		{Name: WireStorm, Reach: Nothing, MinLength: 1000 * ms, MaxLength: 6000 * ms},
		{Name: KillInCopy, Reach: Replicas, Kinds: loaders, MinLength: 1000 * ms, MaxLength: 3000 * ms},
		{Name: KillAfterCopy, Reach: Replicas, Kinds: loaders, MinLength: 1000 * ms, MaxLength: 3000 * ms},
		{Name: PauseInCopy, Reach: Replicas, Kinds: loaders, MinLength: 500 * ms, MaxLength: 5000 * ms},
		{Name: RepeatInCopy, Reach: Replicas, Kinds: loaders, MinLength: 1000 * ms, MaxLength: 3000 * ms},
		{Name: KillGivingUp, Reach: Replicas, Kinds: loaders, MinLength: 3000 * ms, MaxLength: 5000 * ms},
		{Name: KillSetAside, Reach: Replicas, Kinds: loaders, MinLength: 3000 * ms, MaxLength: 5000 * ms},
		{Name: LoseCopy, Reach: Nothing, MinLength: 1000 * ms, MaxLength: 4000 * ms},
		{Name: TruncateCopy, Reach: Nothing, MinLength: 1000 * ms, MaxLength: 4000 * ms},
		{Name: CutCopy, Reach: Nothing, MinLength: 1000 * ms, MaxLength: 4000 * ms},
		{Name: LoseManifest, Reach: Nothing, MinLength: 1000 * ms, MaxLength: 4000 * ms},
		{Name: KillDatabaseInside, Reach: Everything, Kinds: slices.Concat(standIns, databases), MinLength: 1000 * ms, MaxLength: 3000 * ms},
		{Name: PauseStandInInside, Reach: Replicas, Kinds: standIns, MinLength: 500 * ms, MaxLength: 5000 * ms},
		{Name: HideTable, Reach: Nothing, MinLength: 500 * ms, MaxLength: 4000 * ms},
	}
}
