package revocation_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"egov-gateway/gateway/revocation"
)

// The table says what a map of the same entries says, whatever the lengths of the serial numbers,
// however often one comes, and when all have the same hash.
func TestTheTableSaysWhatAMapSays(t *testing.T) {
	tests := []struct {
		name    string
		lists   int
		entries int // at most
		thought int // entries the list was thought to have; 0 for as many as there are
		longest int // octets of a serial number
		alike   bool
		weak    bool
	}{
		{"small lists, whose groups overflow past the last one", 2000, 60, 0, 20, false, false},
		{"short serial numbers, most of them repeated", 300, 600, 0, 1, false, false},
		{"serial numbers of up to two octets", 50, 20_000, 0, 2, false, false},
		{"a list of many parts", 2, 200_000, 0, 20, false, false},
		{"a list longer than it was thought to be", 2, 60_000, 1, 20, false, false},
		{"a list shorter than it was thought to be", 20, 500, 200_000, 20, false, false},
		{"serial numbers that differ in one octet", 100, 5000, 0, 20, true, false},
		{"serial numbers that all have one hash", 5, 3000, 0, 12, false, true},
		{"one hash and a list of many parts", 1, 6000, 100_000, 12, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, uint64(tt.entries)))
			reasons := []revocation.CRLReason{0, 1, 2, 3, 4, 5, 6, 6, 6, 8, 8, 9, 10}
			serial := func() []byte {
				if tt.alike {
					s := make([]byte, tt.longest)
					s[0] = 0x55
					s[1+random.IntN(tt.longest-1)] = byte(random.Uint32())
					return s
				}
				s := make([]byte, 1+random.IntN(tt.longest))
				for i := range s {
					s[i] = byte(random.Uint32())
				}
				s[0] = max(s[0], 1) // a magnitude: DER leaves out leading zeros
				return s
			}
			for range tt.lists {
				entries := make([]revocation.TableEntry, 1+random.IntN(tt.entries))
				want := map[string]revocation.TableEntry{}
				for i := range entries {
					e := revocation.TableEntry{Serial: serial(), Seconds: random.Int64N(1 << 32), Reason: reasons[random.IntN(len(reasons))]}
					if i > 0 && random.IntN(10) == 0 {
						e.Serial = entries[random.IntN(i)].Serial
					}
					if random.IntN(20) == 0 {
						e.Invalid = 1 + random.Int64N(1<<31)
					}
					entries[i] = e
					if first, twice := want[string(e.Serial)]; twice {
						if e.Reason == revocation.CertificateHold || e.Reason == revocation.RemoveFromCRL {
							continue
						}
						first.Reason = e.Reason
						if e.Invalid != 0 {
							first.Invalid = e.Invalid
						}
						e = first
					}
					want[string(e.Serial)] = e
				}
				thought := tt.thought
				if thought == 0 {
					thought = len(entries)
				}
				find, size := revocation.TableOf(entries, thought, tt.weak)
				if size != len(want) {
					t.Fatalf("%d entries, want %d", size, len(want))
				}
				for _, w := range want {
					at, reason, invalid, ok := find(w.Serial)
					if !ok || reason != w.Reason || at != time.Unix(w.Seconds, 0).UTC() || invalid.IsZero() != (w.Invalid == 0) || w.Invalid != 0 && invalid.Unix() != w.Invalid {
						t.Fatalf("%x: listed %t, reason %d at %v, invalid since %v, want %+v", w.Serial, ok, reason, at, invalid, w)
					}
				}
				for range len(entries) {
					s := serial()
					_, listed := want[string(s)]
					if _, _, _, ok := find(s); ok != listed {
						t.Fatalf("%x: listed %t, want %t", s, ok, listed)
					}
				}
			}
		})
	}
}
