package redrive

// Report is what became of all items of a run.
type Report struct {
	DryRun bool `json:"dry_run"`

	Items int `json:"items"` // that are the delivery stream's, and were looked at
	Done  int `json:"done"`  // of them, moved aside
	Kept  int `json:"kept"`  // of them, left where they are
	// Partly are those of Done of which a rest is left, in a new object.
	Partly int `json:"partly"`

	Records   int `json:"records"`   // in the items, as far as they say
	Delivered int `json:"delivered"` // now
	Already   int `json:"already"`   // were delivered before
	Left      int `json:"left"`      // are not delivered

	Others int  `json:"others"` // objects with such a name that are another delivery stream's, or nobody's
	More   bool `json:"more"`   // there may be more than the limit
}

func (r *Report) add(s Step) {
	r.Items++
	r.Records += s.Item.Records()
	r.Delivered += s.Outcome.Delivered
	r.Already += s.Outcome.Already
	r.Left += s.Outcome.Left
	switch {
	case s.Aside != "":
		r.Done++
		if s.Outcome.Rest != "" {
			r.Partly++
		}
	case !r.DryRun:
		r.Kept++
	}
}

// Clean tells that nothing is left, but for what a limit left out.
func (r Report) Clean() bool { return r.Kept == 0 && r.Partly == 0 }
