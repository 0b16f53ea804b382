package ownfile

import "strings"

func (r *Receiver) link(b []byte) error {
	_, b, err := parseAttributes(b)
	if err != nil {
		return err
	}
	name, to, err := parsePair(b)
	if err == nil {
		r.name, err = r.called(name)
	}
	if err != nil {
		return err
	}
	if r.dir == nil {
		return nil
	}
	temp := freeName()
	switch {
	case !r.AllLinks && leadsOut(r.depth(), string(to)):
		err = errLeadsOut
	default:
		if err = r.dir.Symlink(string(to), temp); err == nil {
			r.temp = temp
			err = r.place(nil)
		}
	}
	if err != nil {
		r.failed(err)
		return nil
	}
	r.Totals.Links++
	return nil
}

// depth counts the directories between the destination and the current one, that included.
func (r *Receiver) depth() int {
	if r.Alias != "" && len(r.below) > 0 {
		return len(r.below) - 1
	}
	return len(r.below)
}

// leadsOut tells whether a link may lead out of the destination, so many directories below which
// it is. Parents are counted at its beginning only: behind another link they are not what they
// seem.
func leadsOut(depth int, to string) bool {
	if to == "" || strings.HasPrefix(to, "/") {
		return true
	}
	begun := false
	for name := range strings.SplitSeq(to, "/") {
		switch {
		case name == "" || name == ".":
		case name != "..":
			begun = true
		case begun:
			return true
		default:
			if depth--; depth < 0 {
				return true
			}
		}
	}
	return false
}
