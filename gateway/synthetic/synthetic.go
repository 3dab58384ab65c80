// Package synthetic walks the whole way of a request, again and again, to see that it works: a
// citizen who asks for nothing, from the door through journal and pipeline to a provider that is
// part of the gateway, whose signed result is verified and read in the cabinet.
//
// Everything on the way is the real thing: the door's address over the network, the signature and
// its six checks, revocation evidence, the durable acceptance, the engine's steps, the provider's
// door, the cabinet. Left out are the state systems and the providers, which cannot be expected to
// take such requests. Its requests have a portal, a service, a provider and shards of their own, so
// that no statistics of real ones count them and nobody else's cabinet shows them; they are erased
// minutes after they are closed.
package synthetic

import (
	"fmt"
	"strings"
	"time"

	"egov-gateway/gateway"
)

// Name is that of the portal, the service and the provider.
const Name = "synthetic"

const prefix = Name + "-"

// Keep is how long a walk's request stays after it is closed, and its proof as long again.
const Keep = 2 * time.Minute

// Shard is where the requests of the walks through a shard are kept.
func Shard(real string) string { return prefix + real }

// RealShard is the reverse of [Shard]; "" for a shard that is none of walks.
func RealShard(shard string) string {
	real, ok := strings.CutPrefix(shard, prefix)
	if !ok {
		return ""
	}
	return real
}

// A Passport is what a walk's requests are accepted under.
type Passport struct {
	Shard string // the real one
	// KATO begins the territories of the shard: it tells the shards' passports apart.
	KATO string
}

// Territory is one that the passport serves.
func (p Passport) Territory() string { return (p.KATO + "000000000")[:9] }

// YAML writes the passport as the register reads it.
func (p Passport) YAML() (name string, data []byte) {
	text := "{kk: Жүйені тексеру, ru: Проверка системы, en: Check of the system}"
	return prefix + p.Shard + ".yaml", fmt.Appendf(nil, `id: %[1]s
version: "1"
service: %[2]s
shard: %[1]s
name: %[3]s
source: %[3]s
applies_from: 2000-01-01
channels: [portal]
applicants: [natural-person]
representative: {allowed: false}
form:
  schema: synthetic-request.xsd
  rules: []
created_at: {past: 1h, future: 10m}
working_hours: {from: "00:00", to: "23:59"}
records: []
attachments: {total_bytes: 1, documents: []}
steps:
  - {code: walk, limit: {minutes: 10}, name: %[3]s}
results: [answer]
answer_place: %[3]s
retention: {documents_days: 1, proof_days: 1}
refusal_grounds: []
providers:
  - {id: %[2]s, kato: [%[4]q], name: %[3]s}
`, Shard(p.Shard), Name, text, p.KATO)
}

// Stages of a walk.
const (
	StageDoor    = "door"    // the request is accepted, durably
	StageJournal = "journal" // it goes through journal and pipeline to the provider's signed result
	StageResult  = "result"  // the result is read at the door, and verifies
	StageCabinet = "cabinet" // the citizen finds it in the cabinet
	StageRemoval = "removal" // what earlier walks left is gone
)

// Stages lists them in order.
var Stages = []string{StageDoor, StageJournal, StageResult, StageCabinet, StageRemoval}

// A Walk is the outcome of one.
type Walk struct {
	Shard    string // the real one
	Stage    string // where it ended; "" for one that came through
	Reason   gateway.Reason
	Duration time.Duration
}
