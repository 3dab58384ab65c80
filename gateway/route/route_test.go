package route_test

import (
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/passport"
	"egov-gateway/gateway/route"
	"egov-gateway/schemas"
)

// R6, R15: service and territory lead to region, shard and provider, by KATO and never by name.
func TestFind(t *testing.T) {
	forms, err := passport.Load(schemas.FS)
	if err != nil {
		t.Fatal(err)
	}
	table := route.NewTable(forms, func(_ *passport.Passport, id string) bool { return id != "merki" })
	tests := []struct {
		name, service string
		territory     gateway.KATO
		shard, to     string
		want          gateway.Reason
	}{
		{"Petropavl", "housing-aid", "591010000", "north-kazakhstan", "petropavl", ""},
		{"Bulaevo", "housing-aid", "593620100", "north-kazakhstan", "magzhan-zhumabaev", ""},
		{"Taraz", "housing-aid", "311010000", "zhambyl", "taraz", ""},
		{"the Zhambyl district of Zhambyl region", "housing-aid", "314020100", "zhambyl", "zhambyl-district", ""},
		{"the Zhambyl district of North Kazakhstan is not served", "housing-aid", "594620100", "", "", gateway.TerritoryUnknown},
		{"a provider that cannot be reached", "housing-aid", "315420100", "", "", gateway.TerritoryUnknown},
		{"Almaty", "housing-aid", "750000000", "", "", gateway.TerritoryUnknown},
		{"another service", "marriage", "591010000", "", "", gateway.ServiceUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := table.Find(&gateway.Request{Service: tt.service, Territory: tt.territory}, time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC))
			if gateway.ReasonOf(err) != tt.want {
				t.Fatalf("got %v", err)
			}
			if err == nil && (r.Passport.Shard != tt.shard || r.Provider.ID != tt.to) {
				t.Errorf("got %s, %s", r.Passport.Shard, r.Provider.ID)
			}
			if tt.want == gateway.TerritoryUnknown && !strings.Contains(err.Error(), "5910") {
				t.Errorf("the error does not list what is served: %v", err)
			}
		})
	}
}
