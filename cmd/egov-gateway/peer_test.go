package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"egov-gateway/adapters/statesim"
	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/peer"
	"egov-gateway/gateway/harness/tool"
	"egov-gateway/gateway/shep"
)

// peerPython is Debian's own: zeep is a package of it.
const peerPython = "/usr/bin/python3"

// A SOAP stack that was not written here completes submit → status → result through both
// channels: it reads our WSDL, signs and verifies with xmlsec, polls, confirms and takes pushes.
func TestAnIndependentSOAPStack(t *testing.T) {
	t.Run("that reads the gateway's WSDL", func(t *testing.T) { independentStack(t, "") })
	t.Run("that reads the published WSDL and changed an address", func(t *testing.T) {
		dir := os.Getenv("SHEP_CONTRACT")
		if dir == "" {
			dir = "../../../shared/shep"
		}
		dir, err := filepath.Abs(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "AsyncChannel", "v10")); err != nil {
			t.Skip("the published contract is not at hand: SHEP_CONTRACT names its folder")
		}
		independentStack(t, dir)
	})
}

func independentStack(t *testing.T, contract string) {
	if exec.Command(peerPython, "-c", "import zeep, xmlsec").Run() != nil {
		tool.Missing(t, "zeep is missing: apt-get install python3-zeep python3-xmlsec")
	}
	l, err := newLab(t.TempDir(), time.Now(), nil, slog.New(slog.DiscardHandler), func(c *statesim.Config) { c.Factor = 1e6 })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	l.mustReconfigure(t, func(c *Config) { c.SHEP.Participants[1].PushURL = "http://" + address + "/shep" })
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	go l.world.Run(ctx) //nolint:errcheck // ends with ctx

	file := func(name string, data []byte) string {
		path := filepath.Join(l.dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	_, port, _ := net.SplitHostPort(address)
	signed := func(citizen, portal, territory string) string {
		d := l.draft(citizen, territory)
		d.Portal = portal
		doc := l.mustSigned(t, d, citizen)
		if len(d.Documents) > 0 {
			return submissionOf(t, doc, d.Documents)
		}
		return doc
	}
	portal := l.pki.Must("system-portal")
	job, err := json.Marshal(map[string]any{
		"base": l.base, "contract": contract, "service": housing, "sender": "EGOV", "password": l.password, "push_sender": "BANK", "push_port": json.Number(port),
		"sync_request": signed("citizen-01", "egov.kz", taraz), "pull_request": signed("citizen-02", "egov.kz", petropavl), "push_request": signed("gost-citizen-01", "bank.kz", taraz),
		"key": file("zeep.key", portal.KeyPEM), "certificate": file("zeep.crt", portal.CertificatePEM), "gateway_certificate": file("gateway.crt", l.pki.Must("system-gateway").CertificatePEM),
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd := peer.Command(ctx, l.clock.Now(), peerPython, "testdata/zeep_peer.py")
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(job), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var got struct {
		SyncStatus  string     `json:"sync_status"`
		SyncSession string     `json:"sync_session"`
		SyncReceipt string     `json:"sync_receipt"`
		SyncID      string     `json:"sync_id"`
		SyncState   string     `json:"sync_state"`
		SyncResult  string     `json:"sync_result"`
		Fault       []string   `json:"fault"`
		PullID      string     `json:"pull_id"`
		PullChain   string     `json:"pull_chain"`
		PullState   string     `json:"pull_state"`
		PullTypes   []string   `json:"pull_types"`
		PullResult  string     `json:"pull_result"`
		AfterResend int        `json:"pull_after_resend"`
		AfterTaken  *int       `json:"pull_after_confirmation"`
		PushID      string     `json:"push_id"`
		PushTypes   []string   `json:"push_types"`
		PushChains  []string   `json:"push_chains"`
		PushChain   string     `json:"push_chain"`
		PushResult  string     `json:"push_result"`
		Verified    int        `json:"push_verified"`
		Changed     [][]string `json:"push_changed"`
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	document := func(id, name string) string {
		b, err := l.svc.store.Body(t.Context(), gateway.RequestID(id), name)
		if err != nil {
			t.Fatalf("%s of %s: %v", name, id, err)
		}
		return string(b)
	}
	if got.SyncStatus != "SCSS001" || !strings.HasPrefix(got.SyncSession, "{") || got.SyncState != "closed" || got.SyncReceipt != document(got.SyncID, gateway.BodyReceipt) || got.SyncResult != document(got.SyncID, gateway.BodyResult) {
		t.Errorf("SyncChannel: %+v", got)
	}
	if len(got.Fault) != 4 || got.Fault[0] != "SCE004" || got.Fault[1] != "SendMessageFault1_SendMessageFault" || got.Fault[2] != "SCE004" || !strings.HasPrefix(got.Fault[3], string(gateway.ServiceUnknown)) {
		t.Errorf("the fault of an unknown service: %q", got.Fault)
	}
	if got.PullChain != shep.Chain(gateway.RequestID(got.PullID)) || got.PullState != "DELIVERED" || got.PullResult != document(got.PullID, gateway.BodyResult) ||
		got.AfterResend != len(got.PullTypes) || got.AfterTaken == nil || *got.AfterTaken != 0 {
		t.Errorf("AsyncChannel, fetched: %+v", got)
	}
	if got.PushChain != shep.Chain(gateway.RequestID(got.PushID)) || !slices.Equal(got.PushChains, []string{got.PushChain}) || got.PushResult != document(got.PushID, gateway.BodyResult) || got.Verified < len(got.PushTypes)+1 {
		t.Errorf("AsyncChannel, pushed: %+v", got)
	}
	if len(got.Changed) != 1 || !slices.Equal(got.Changed[0], []string{got.PushID, "DELIVERED"}) {
		t.Errorf("told of the delivery: %q", got.Changed)
	}
	for how, types := range map[string][]string{"fetched": got.PullTypes, "pushed": got.PushTypes} {
		if n := len(types); n < 2 || types[n-1] != "RESPONSE" || slices.Index(types, "RESPONSE") != n-1 || types[0] != "NOTIFICATION" {
			t.Errorf("%s messages are %q", how, types)
		}
	}
}
