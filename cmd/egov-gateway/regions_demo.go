package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/intake"
)

// runRegions shows a request crossing three gateways, for each of the two regions.
func (d *demoCmd) runRegions(ctx context.Context, dir string, log *slog.Logger, out io.Writer) error {
	l, err := newLand(dir, newHopClock(demoStart.Add(64*time.Hour)), log) // a Monday morning
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.start(); err != nil {
		return err
	}
	fmt.Fprintf(out, "portal's gateway %s · North Kazakhstan %s · Zhambyl %s\n", l.portal.base, l.north.base, l.zhambyl.base)
	wrong := 0
	for _, one := range []struct {
		title, territory string
		region           *lab
		name             string
	}{{"Petropavl, with documents; the region pushes what comes back", petropavl, l.north, "North Kazakhstan"}, {"Taraz; what comes back is fetched", taraz, l.zhambyl, "Zhambyl"}} {
		fmt.Fprintf(out, "\n%s\n", one.title)
		ok, err := l.cross(ctx, out, one.territory, one.region, one.name)
		if err != nil {
			return err
		}
		if !ok {
			wrong++
		}
	}
	if wrong > 0 {
		fmt.Fprintf(out, "\n%d outcomes were not the expected ones\n", wrong)
		return exitError(exitFailed)
	}
	fmt.Fprintln(out, "\nevery outcome was the expected one")
	if d.Once {
		return nil
	}
	fmt.Fprintf(out, "\nWSDL %s/shep/async?wsdl\nCtrl-C ends the demonstration.\n", l.portal.base)
	for _, one := range l.all() {
		go one.world.Run(ctx) //nolint:errcheck // ends with ctx
	}
	<-ctx.Done()
	return nil
}

// cross sends one request and prints what every gateway wrote into its journal.
func (l *land) cross(ctx context.Context, out io.Writer, territory string, region *lab, name string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	a, err := l.portal.submit(l.portal.draft("citizen-01", territory), "citizen-01")
	if err != nil || a.status != http.StatusAccepted {
		return false, fmt.Errorf("not accepted: %d %s, %w", a.status, a.body, err)
	}
	var p intake.Progress
	err = l.pass(ctx, func() bool {
		p, err = l.portal.progress(a.receipt.ID)
		return err == nil && p.State == gateway.StateClosed
	})
	if err != nil {
		return false, err
	}
	type entry struct {
		at          time.Time
		where, what string
	}
	var all []entry
	for _, at := range []struct {
		where string
		lab   *lab
	}{{"portal's gateway", l.portal}, {name, region}} {
		it, err := at.lab.svc.store.Get(ctx, a.receipt.ID)
		if err != nil {
			return false, err
		}
		for _, e := range it.Events {
			if e.Kind != gateway.EventRecord {
				all = append(all, entry{e.At, at.where, strings.TrimSpace(string(e.Kind) + " " + e.Subject)})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int { return a.at.Truncate(time.Millisecond).Compare(b.at.Truncate(time.Millisecond)) })
	zone := time.FixedZone("Almaty", 5*3600)
	for _, e := range all {
		fmt.Fprintf(out, "  %s  %-18s %s\n", e.at.In(zone).Format("Mon 02.01 15:04:05"), e.where, e.what)
	}
	return p.Result != nil && p.Result.Kind == gateway.ResultAssignment, nil
}
