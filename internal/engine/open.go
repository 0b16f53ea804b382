package engine

// openRequests lists the requests of a context that have no answer yet, in the order in which they
// were sent. Answers come in any order, so whatever the number is, each is taken out in the same
// time. Engine.mu is held by callers of its methods.
type openRequests struct {
	first, last *Pending
	n           int
}

// inRequests is the part of a Pending that links it to its neighbours.
type inRequests struct {
	earlier, later *Pending
	listed         bool
}

// add puts p at the end.
func (o *openRequests) add(p *Pending) {
	p.in = inRequests{earlier: o.last, listed: true}
	if o.last == nil {
		o.first = p
	} else {
		o.last.in.later = p
	}
	o.last = p
	o.n++
}

// remove takes p out, if it is there.
func (o *openRequests) remove(p *Pending) {
	if !p.in.listed {
		return
	}
	if p.in.earlier == nil {
		o.first = p.in.later
	} else {
		p.in.earlier.in.later = p.in.later
	}
	if p.in.later == nil {
		o.last = p.in.earlier
	} else {
		p.in.later.in.earlier = p.in.earlier
	}
	p.in = inRequests{}
	o.n--
}

// all returns what is there.
func (o *openRequests) all() (all []*Pending) {
	for p := o.first; p != nil; p = p.in.later {
		all = append(all, p)
	}
	return all
}

// clear takes all out.
func (o *openRequests) clear() {
	for o.first != nil {
		o.remove(o.first)
	}
}
