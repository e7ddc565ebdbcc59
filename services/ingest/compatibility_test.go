package ingest

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/firehose"

	"hydrant/services/ingest/internal/model"
)

// compatibility is what docs/compatibility.md says.
type compatibility struct {
	operations map[string]string // state by name
	sections   []*section
}

// section is a table of members. It is headed by the shapes that have them: an operation stands for its input.
type section struct {
	shapes []string
	states map[string]string // by member, or path of members
	used   map[string]bool
}

func readCompatibility(t *testing.T) *compatibility {
	t.Helper()
	text := must[[]byte](t)(os.ReadFile("../../docs/compatibility.md"))
	heading, row := regexp.MustCompile("`([A-Za-z0-9]+)`"), regexp.MustCompile("^\\| `([A-Za-z0-9.]+)` \\| (.*?) \\|")
	c := &compatibility{operations: map[string]string{}}
	var at map[string]string
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.HasPrefix(line, "## "):
			at = nil
			if line == "## Operations\n" {
				at = c.operations
			}
		case strings.HasPrefix(line, "### "):
			s := &section{states: map[string]string{}, used: map[string]bool{}}
			for _, name := range heading.FindAllStringSubmatch(line, -1) {
				s.shapes = append(s.shapes, name[1])
			}
			c.sections, at = append(c.sections, s), s.states
		case row.MatchString(line):
			cells := row.FindStringSubmatch(line)
			if at == nil || at[cells[1]] != "" {
				t.Errorf("a row at the wrong place, or twice: %s", line)
				continue
			}
			if !slices.Contains([]string{"supported", "accepted and ignored", "refused"}, cells[2]) {
				t.Errorf("a row of no known state: %s", line)
			}
			at[cells[1]] = cells[2]
		}
	}
	return c
}

func (c *compatibility) section(shape string) *section {
	for _, s := range c.sections {
		if slices.Contains(s.shapes, shape) {
			return s
		}
	}
	return nil
}

// inputsOfSDK are the input structs of the SDK's client.
func inputsOfSDK() map[string]reflect.Type {
	inputs := map[string]reflect.Type{}
	for method := range reflect.TypeFor[*firehose.Client]().Methods() {
		if f := method.Type; f.NumIn() > 2 && f.In(2).Kind() == reflect.Pointer && f.In(2).Elem().Name() == method.Name+"Input" {
			inputs[method.Name] = f.In(2).Elem()
		}
	}
	return inputs
}

// TestCompatibilityIsWhole compares the tables with the SDK: every operation has a row, every member of every input has,
// down to the last of what Hydrant has built, and every row has a member.
func TestCompatibilityIsWhole(t *testing.T) {
	t.Parallel()
	c, inputs := readCompatibility(t), inputsOfSDK()
	if got, want := slices.Sorted(maps.Keys(c.operations)), slices.Sorted(maps.Keys(inputs)); !slices.Equal(got, want) || len(want) != 12 {
		t.Errorf("operations %v\nof the SDK %v", got, want)
	}
	covered := map[string]bool{}
	for operation, input := range inputs {
		c.cover(t, operation, input, covered)
	}
	for _, s := range c.sections {
		for _, shape := range s.shapes {
			if !covered[shape] {
				t.Errorf("%s is part of nothing", shape)
			}
		}
		for member := range s.states {
			if !s.used[member] {
				t.Errorf("%v have no %s", s.shapes, member)
			}
		}
	}
}

// cover checks that a shape has a table that is whole.
func (c *compatibility) cover(t *testing.T, name string, shape reflect.Type, covered map[string]bool) {
	t.Helper()
	if covered[name] {
		return
	}
	covered[name] = true
	s := c.section(name)
	if s == nil {
		t.Errorf("there is no table of %s", name)
		return
	}
	for field := range shape.Fields() {
		if field.IsExported() {
			c.coverMember(t, s, field.Name, field.Type, covered, !isOtherEnd(name))
		}
	}
}

// coverMember checks that a member has a row and, where deep, that its own members have, in a table of their own or in
// this one.
func (c *compatibility) coverMember(t *testing.T, s *section, path string, member reflect.Type, covered map[string]bool, deep bool) {
	t.Helper()
	for member.Kind() == reflect.Pointer || member.Kind() == reflect.Slice {
		member = member.Elem()
	}
	_, found := s.states[path]
	isStruct := member.Kind() == reflect.Struct && member.NumField() > 1 && member.Name() != "Time"
	switch {
	case found && isStruct && deep:
		s.used[path] = true
		c.cover(t, member.Name(), member, covered)
	case found:
		s.used[path] = true
	case !isStruct || !deep:
		t.Errorf("%v: there is no row for %s", s.shapes, path)
	default:
		for field := range member.Fields() {
			if field.IsExported() {
				c.coverMember(t, s, path+"."+field.Name, field.Type, covered, deep)
			}
		}
	}
}

// isOtherEnd tells whether a shape is a destination or source that is not built.
func isOtherEnd(shape string) bool {
	end := regexp.MustCompile("(DestinationConfiguration|DestinationUpdate|SourceConfiguration)$").MatchString(shape)
	return end && !isS3(shape) && !isSearch(shape) && !isRedshift(shape)
}

func isS3(shape string) bool {
	return regexp.MustCompile("^(Extended)?S3Destination(Configuration|Update)$").MatchString(shape)
}

func isSearch(shape string) bool {
	return regexp.MustCompile("^(Elasticsearch|Amazonopensearchservice)Destination(Configuration|Update)$").MatchString(shape)
}

func isRedshift(shape string) bool {
	return regexp.MustCompile("^RedshiftDestination(Configuration|Update)$").MatchString(shape)
}

// TestCompatibilityHolds sends each member to a running API: what is refused must be, what is supported must be shown
// by Describe, as far as that shows it.
func TestCompatibilityHolds(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	rows := 0
	for _, section := range readCompatibility(t).sections {
		for _, shape := range section.shapes {
			for _, path := range slices.Sorted(maps.Keys(section.states)) {
				trial := newTrial(t, shape, strings.Split(path, "."))
				if trial == nil {
					continue // a member of the other shape of this table
				}
				rows++
				t.Run(shape+"."+path, func(t *testing.T) { trial.run(t, r, fmt.Sprintf("s%d", rows), section.states[path]) })
			}
		}
	}
	if rows < 300 {
		t.Errorf("%d rows were tried", rows)
	}
}

// trial is a request that has one member of one shape.
type trial struct {
	operation string
	body      map[string]any
}

// newTrial returns nil if the shape has no such member.
func newTrial(t *testing.T, shape string, path []string) *trial {
	t.Helper()
	m := must[*model.Model](t)(apiModel())
	operation, route := routeTo(m, shape)
	if operation == "" {
		t.Fatalf("no operation has %s", shape)
	}
	at := m.Inputs[operation]
	for _, name := range append(slices.Clone(route), path...) {
		member := memberOf(at, name)
		if member == nil {
			return nil
		}
		for at = member.Shape; at.Type == model.List && at.Element.Type == model.Structure; {
			at = at.Element
		}
	}
	body := filled(t, m.Inputs[operation], append(slices.Clone(route), path...)).(map[string]any)
	return &trial{operation, body}
}

// routeTo returns an operation that has a shape, and the members that lead there, through S3 where there is a choice.
func routeTo(m *model.Model, shape string) (operation string, route []string) {
	if m.Inputs[shape] != nil {
		return shape, nil
	}
	for _, through := range []func(string) bool{func(name string) bool { return !isOtherEnd(name) }, func(string) bool { return true }} {
		for _, operation := range slices.Sorted(maps.Keys(m.Inputs)) {
			if route := search(m.Inputs[operation], shape, through); route != nil {
				return operation, route
			}
		}
	}
	return "", nil
}

func search(from *model.Shape, shape string, through func(string) bool) []string {
	for _, m := range from.Members {
		to := m.Shape
		if to.Type == model.List {
			to = to.Element
		}
		if to.Name == shape {
			return []string{m.Name}
		}
		if to.Type == model.Structure && through(m.Name) {
			if route := search(to, shape, through); route != nil {
				return append([]string{m.Name}, route...)
			}
		}
	}
	return nil
}

// filled returns a structure with the member at path and all that this one needs.
func filled(t *testing.T, s *model.Shape, path []string) any {
	t.Helper()
	switch {
	case s.Type == model.List && len(path) > 0:
		return []any{filled(t, s.Element, path)}
	case len(path) == 0 && s.Name == "ProcessingConfiguration", len(path) == 0 && s.Name == "DynamicPartitioningConfiguration":
		return map[string]any{"Enabled": true}
	case len(path) == 0 && s.Name == "S3DestinationUpdate":
		return map[string]any{"RoleARN": sampleText(t, memberOf(s, "RoleARN").Shape), "BucketARN": sampleText(t, memberOf(s, "BucketARN").Shape)}
	case len(path) == 0 && s.Type != model.Structure:
		return sample(t, s)
	}
	members, member := map[string]any{}, ""
	if len(path) > 0 {
		member = path[0]
		members[member] = filled(t, memberOf(s, member).Shape, path[1:])
	}
	for name, value := range beside(s.Name, member) {
		if members[name] == nil {
			members[name] = value
		}
	}
	return withNeeded(t, s, members)
}

// beside is what else has to be set for a member, or a structure without any, to be taken.
func beside(shape, member string) map[string]any {
	switch {
	case isSearch(shape) && strings.HasSuffix(shape, "Configuration") && member != "DomainARN":
		return map[string]any{"ClusterEndpoint": "http://127.0.0.1:9200"}
	case shape == redshiftShape:
		return map[string]any{"Username": "loader", "Password": redshiftPassword, "S3BackupMode": backupMode(member)}
	case strings.HasSuffix(shape, "BufferingHints") && member != "":
		return map[string]any{"SizeInMBs": 1, "IntervalInSeconds": 60}
	case member != "" && slices.Contains([]string{"ProcessingConfiguration", "DynamicPartitioningConfiguration", "DataFormatConversionConfiguration", "SecretsManagerConfiguration"}, shape):
		return map[string]any{"Enabled": false}
	case strings.HasPrefix(member, "S3Backup") && (strings.HasPrefix(shape, "ExtendedS3") || isRedshift(shape)):
		return map[string]any{"S3BackupMode": backupMode(member)}
	}
	return nil
}

// backupMode is the one that a member of a destination needs.
func backupMode(member string) string {
	if member == "S3BackupConfiguration" || member == "S3BackupUpdate" {
		return "Enabled"
	}
	return "Disabled"
}

func (x *trial) run(t *testing.T, r *replica, name, state string) {
	r.t = t
	end := ""
	for member := range x.body {
		if strings.Contains(member, "Destination") && member != "DestinationId" {
			end = member
		}
	}
	switch {
	case x.operation == "CreateDeliveryStream", x.operation == "ListDeliveryStreams":
	case isSearch(end):
		r.createSearch(name, opensearch())
	case isRedshift(end):
		r.createRedshift(name, redshift())
	default:
		r.create(name)
	}
	if x.body["DeliveryStreamName"] != nil {
		x.body["DeliveryStreamName"] = name
	}
	switch {
	case x.operation == "CreateDeliveryStream" && end == "":
		end, x.body["S3DestinationConfiguration"] = "S3DestinationConfiguration", json.RawMessage(sampleJSON(t, "S3DestinationConfiguration"))
	case x.operation == "UpdateDestination":
		x.body["CurrentDeliveryStreamVersionId"], x.body["DestinationId"] = "1", onlyDestination
		if end == "" {
			end, x.body["S3DestinationUpdate"] = "S3DestinationUpdate", map[string]any{}
		}
	}
	body := string(must[[]byte](t)(json.Marshal(x.body)))
	answer := r.raw(x.operation, body)
	if state == "refused" {
		reason := regexp.MustCompile("is not built yet$|is not supported at this time.$|is only applicable for")
		if answer.Status != 400 || answer.Type != codeInvalidArgument || !reason.MatchString(answer.Message) {
			t.Errorf("%s %s\nis not refused: %d %s", x.operation, body, answer.Status, answer.Body)
		}
		return
	}
	if answer.Status != 200 {
		t.Fatalf("%s %s\nis not taken: %d %s", x.operation, body, answer.Status, answer.Body)
	}
	if isS3(end) || isSearch(end) || isRedshift(end) {
		wantShown(t, r, name, end, x.body[end])
	}
}

// wantShown checks that Describe shows a destination as it was sent.
func wantShown(t *testing.T, r *replica, name, shape string, sent any) {
	t.Helper()
	text := strings.NewReplacer(
		"S3BackupConfiguration", "S3BackupDescription", "S3BackupUpdate", "S3BackupDescription",
		"S3Configuration", "S3DestinationDescription", "S3Update", "S3DestinationDescription",
	).Replace(string(must[[]byte](t)(json.Marshal(sent))))
	description := "ExtendedS3DestinationDescription"
	if isSearch(shape) || isRedshift(shape) {
		description = regexp.MustCompile("(Configuration|Update)$").ReplaceAllString(shape, "Description")
	}
	var want any
	var got struct {
		DeliveryStreamDescription struct {
			Destinations []map[string]any
		}
	}
	answer := r.raw("DescribeDeliveryStream", `{"DeliveryStreamName":"`+name+`"}`)
	if json.Unmarshal([]byte(text), &want) != nil || json.Unmarshal([]byte(answer.Body), &got) != nil {
		t.Fatal(answer.Body)
	}
	if isRedshift(shape) {
		delete(want.(map[string]any), "Password")
	}
	if shown := got.DeliveryStreamDescription.Destinations[0][description]; !contains(shown, want) {
		t.Errorf("%s\nis shown as %s", text, answer.Body)
	}
}

// contains tells whether all that want has is in got too.
func contains(got, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		has, isMap := got.(map[string]any)
		for name, value := range want {
			if !isMap || !contains(has[name], value) {
				return false
			}
		}
		return isMap
	case []any:
		has, isList := got.([]any)
		return isList && slices.EqualFunc(has, want, contains)
	}
	return got == want
}
