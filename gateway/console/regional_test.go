package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/console"
)

// An operator of one region learns nothing of another's: not that a request is there, where it is, or
// which of that region's systems are called.
func TestAnotherRegionIsUnknown(t *testing.T) {
	p := newPlace(t, func(c *console.Config) {
		c.Systems = func() []console.System {
			return []console.System{{Name: "everybodys", Role: "register"}, {Name: "of-zhambyl", Role: "provider", Shard: "zhambyl"},
				{Name: "of-the-north", Role: "provider", Shard: "north-kazakhstan"}}
		}
	})
	foreign := p.add(1, "zhambyl", gateway.StateParked, gateway.ProviderRejected)
	const nowhere = "ffffffffffffffffffffffffffffffff"
	v := p.as("north-act")
	v.get("/console/")
	seen := map[string]string{}
	for _, id := range []string{string(foreign), nowhere} {
		v.get("/console/")
		if got := v.post("/console/redrive", url.Values{"csrf": {v.csrf()}, "order": {id + "/1"}}); got != http.StatusOK {
			t.Fatalf("an order for %s: %d %s", id, got, v.last)
		}
		seen["redrive "+id] = strings.NewReplacer(id, "ID", id[:8], "ID").Replace(v.last)
		seen["page "+id] = http.StatusText(v.get("/console/requests/" + id))
	}
	if len(p.redrive) > 0 {
		t.Errorf("set going: %q", p.redrive)
	}
	for _, what := range []string{"redrive ", "page "} {
		if strip(seen[what+string(foreign)]) != strip(seen[what+nowhere]) {
			t.Errorf("%s: another region's request is answered otherwise than none:\n%s\n%s", what, seen[what+string(foreign)], seen[what+nowhere])
		}
	}
	v.get("/console/actions")
	if text := p.reasonText(gateway.OperatorForbidden); strings.Contains(v.last, text) {
		t.Errorf("the actions say %q", text)
	}
	v.get("/console/systems")
	if !strings.Contains(v.last, "everybodys") || !strings.Contains(v.last, "of-the-north") || strings.Contains(v.last, "of-zhambyl") {
		t.Errorf("the systems of the north:\n%s", v.last)
	}
	if all := p.actions(); !contains(all, "north-act redrive "+string(foreign)+" zhambyl door.operator_forbidden") {
		t.Errorf("the region's own operators do not learn of it: %q", all)
	}
}

// strip leaves out what is another one on each page.
func strip(page string) string {
	lines := strings.Split(page, "\n")
	for i, l := range lines {
		if strings.Contains(l, "csrf") {
			lines[i] = ""
		}
	}
	return strings.Join(lines, "\n")
}
