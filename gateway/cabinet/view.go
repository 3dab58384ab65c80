package cabinet

import (
	"slices"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// A view is a Case as its page shows it, in one language.
type view struct {
	*Case
	Track     []stage
	Happened  []line
	Looks     []look
	Documents struct{ Receipt, Result *document }
}

// A stage is one of the four of every request, for the line at the top.
type stage struct {
	Key  string // of its text
	Mark string // done, current, ahead
}

// A line is one event in words.
type line struct {
	At   time.Time
	Text string
}

// A document is one that the citizen may have.
type document struct {
	Note journal.BodyNote
	Href string
	Text string
}

// A look is one time that somebody looked at the citizen's data.
type look struct {
	At                             time.Time
	Who, What, About, Outcome, Why string
}

// stages are keys of texts. The first is behind every accepted request.
var stages = []string{"state.accepted", "cabinet.stage_records", "cabinet.stage_provider", "cabinet.stage_result"}

func (c *Cabinet) view(l gateway.Language, k *Case) *view {
	v := &view{Case: k}
	v.Track = track(k)
	for _, e := range k.Timeline {
		v.Happened = append(v.Happened, line{e.At, c.event(l, k, e)})
	}
	v.Looks = c.looks(l, k)
	for name, p := range map[string]**document{gateway.BodyReceipt: &v.Documents.Receipt, gateway.BodyResult: &v.Documents.Result} {
		if note, ok := k.bodies[name]; ok {
			text := map[string]string{gateway.BodyReceipt: "cabinet.receipt", gateway.BodyResult: "cabinet.download"}[name]
			*p = &document{Note: note, Href: "/cabinet/api/requests/" + string(k.ID) + "/" + name, Text: c.c.Texts.Text(l, text)}
		}
	}
	return v
}

// event says what happened, and to what.
func (c *Cabinet) event(l gateway.Language, k *Case, e gateway.Event) string {
	text, about := c.c.Texts.Text(l, "event."+string(e.Kind)), ""
	switch e.Kind {
	case gateway.EventRecord:
		about = c.c.Texts.Text(l, "record."+e.Subject)
	case gateway.EventResult:
		about = c.c.Texts.Text(l, "result."+e.Subject)
	case gateway.EventStep, gateway.EventStepOverdue:
		for _, s := range k.Steps {
			if s.Code == e.Subject {
				about = s.Name.In(l)
			}
		}
	}
	if about != "" {
		text += ": " + about
	}
	return text
}

// track tells how far the request is. What stands still keeps the stage that it reached.
func track(k *Case) (all []stage) {
	at := 1
	for _, e := range k.events {
		if e.Kind == gateway.EventEnriched || e.Kind == gateway.EventDelivered {
			at = 2
		}
	}
	if k.Decision != nil {
		at = len(stages)
	}
	for i, key := range stages {
		switch {
		case i < at:
			all = append(all, stage{key, "done"})
		case i == at:
			all = append(all, stage{key, "current"})
		default:
			all = append(all, stage{key, "ahead"})
		}
	}
	return all
}

// looks tells who looked at the citizen's data, what for, and when: every register that was
// asked, and the provider who was given the request. It is what the journal holds, not what
// was planned.
func (c *Cabinet) looks(l gateway.Language, k *Case) (all []look) {
	why := c.c.Texts.Text(l, "cabinet.purpose", k.Service.In(l))
	for _, r := range k.Records {
		about := c.c.Texts.Text(l, "cabinet.about_you")
		if n, ok := strings.CutPrefix(r.Person, "member-"); ok {
			about = c.c.Texts.Text(l, "cabinet.about_member", n)
		}
		all = append(all, look{r.ObservedAt, c.sourceName(l, r.Source), c.c.Texts.Text(l, "record."+string(r.Kind)), about, c.c.Texts.Text(l, "fact."+string(r.Status)), why})
	}
	for _, e := range k.events {
		if e.Kind == gateway.EventDelivered {
			all = append(all, look{e.At, k.Provider.In(l), c.c.Texts.Text(l, "cabinet.request_itself"), "", "", c.c.Texts.Text(l, "cabinet.purpose_provider")})
		}
	}
	slices.SortStableFunc(all, func(a, b look) int { return a.At.Compare(b.At) })
	return all
}

// sourceName is a state system's name; one that has none keeps its word.
func (c *Cabinet) sourceName(l gateway.Language, source string) string {
	if source == "" {
		return ""
	}
	key := "source." + source
	if text := c.c.Texts.Text(l, key); text != key {
		return text
	}
	return source
}
