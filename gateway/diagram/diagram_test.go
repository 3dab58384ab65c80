package diagram_test

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/diagram"
)

// R22: the way of a request on the decree's diagram: processes 1 to 7, conditions 1 and 2, and
// how far the request is.
func TestR22TheWayOnTheDiagram(t *testing.T) {
	tests := []struct {
		name   string
		state  gateway.State
		result bool
		want   map[string]diagram.Mark
	}{
		{"accepted", gateway.StateAccepted, false, map[string]diagram.Mark{"condition2": diagram.Done, "process5": diagram.NotUsed, "process6": diagram.Current, "work": diagram.Ahead, "end": diagram.Ahead}},
		{"with the provider", gateway.StateDelivered, false, map[string]diagram.Mark{"process6": diagram.Done, "work": diagram.Current, "process7": diagram.Ahead}},
		{"parked", gateway.StateParked, false, map[string]diagram.Mark{"process6": diagram.Current}},
		{"the result is there", gateway.StateClosed, true, map[string]diagram.Mark{"process7": diagram.Done, "end": diagram.Done, "process2": diagram.NotUsed}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			marks := diagram.Marks(tt.state, tt.result)
			for id, want := range tt.want {
				if marks[id] != want {
					t.Errorf("%s is %s, want %s", id, marks[id], want)
				}
			}
			svg := diagram.SVG(marks, func(key string) string { return "<" + key + "> & more" })
			drawn := map[string]string{}
			d := xml.NewDecoder(strings.NewReader(svg))
			for {
				tok, err := d.Token()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatalf("not well-formed: %v", err)
				}
				if e, ok := tok.(xml.StartElement); ok {
					var node, class string
					for _, a := range e.Attr {
						switch a.Name.Local {
						case "data-node":
							node = a.Value
						case "class":
							class = a.Value
						}
					}
					if node != "" {
						drawn[node] = class
					}
				}
			}
			for _, id := range []string{"process1", "process2", "process3", "process4", "process5", "process6", "process7", "condition1", "condition2"} {
				if drawn[id] != string(marks[id]) {
					t.Errorf("%s is drawn as %q", id, drawn[id])
				}
			}
		})
	}
}
