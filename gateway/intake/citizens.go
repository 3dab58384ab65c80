package intake

import (
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/passport"
)

// rememberedCitizens bounds how many citizens' last requests are remembered, twice.
const rememberedCitizens = 50_000

// quotas counts the accepted requests of each citizen, by service. It is in memory: a restart begins
// anew, and each gateway counts for itself.
type quotas struct {
	mu         sync.Mutex // guards all below
	turned     time.Time
	young, old map[[32]byte][]int64 // by citizen and service: the last acceptances, ns since 1970
}

func quotaKey(citizen journal.CitizenKey, service string) [32]byte {
	return sha256.Sum256([]byte(string(citizen) + "\x00" + service))
}

// take notes a request at the instant now, or says when there is room again.
func (q *quotas) take(key [32]byte, limit passport.Quota, now time.Time) (again time.Time, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.young == nil || len(q.young) >= rememberedCitizens || !now.Before(q.turned.Add(passport.LongestQuota)) {
		q.old, q.young, q.turned = q.young, map[[32]byte][]int64{}, now
	}
	taken := q.find(key)
	after := now.Add(-time.Duration(limit.Per)).UnixNano()
	taken = slices.DeleteFunc(taken, func(at int64) bool { return at <= after })
	if len(taken) >= limit.Requests {
		q.young[key] = taken
		return time.Unix(0, taken[len(taken)-limit.Requests]).Add(time.Duration(limit.Per)), false
	}
	q.young[key] = append(taken, now.UnixNano())
	return time.Time{}, true
}

// find needs mu.
func (q *quotas) find(key [32]byte) []int64 {
	if taken, ok := q.young[key]; ok {
		return taken
	}
	taken := q.old[key]
	delete(q.old, key)
	return taken
}

// giveBack forgets a request that was not accepted after all, or was before.
func (q *quotas) giveBack(key [32]byte, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := q.find(key)
	if i := slices.Index(taken, at.UnixNano()); i >= 0 {
		taken = slices.Delete(taken, i, i+1)
	}
	if q.young == nil {
		return
	}
	if len(taken) == 0 {
		delete(q.young, key)
		return
	}
	q.young[key] = taken
}

// checkQuota notes the request among those of its citizen; giveBack takes the note away. What another
// gateway accepted was counted there.
func (a *decision) checkQuota() (giveBack func(), err error) {
	limit := a.route.Passport.PerCitizen
	if !a.c.PerCitizen || limit == nil || a.relayed != nil {
		return func() {}, nil
	}
	key := quotaKey(journal.KeyOf(a.c.Secret, a.request.Applicant), a.request.Service)
	again, ok := a.quotas.take(key, *limit, a.at)
	if !ok {
		err := gateway.Errorf(gateway.CitizenLimit, "%d requests for this service in %v were accepted", limit.Requests, time.Duration(limit.Per))
		refusal := a.refuse(err).(*Refusal) //nolint:errorlint,forcetypeassert // made there
		refusal.Again, refusal.after = again, again.Sub(a.at)
		return nil, refusal
	}
	return func() { a.quotas.giveBack(key, a.at) }, nil
}
