// Package monitoring holds what an operator's Prometheus and Grafana need to watch gateways: the
// table of metrics, recording and alert rules, a runbook with a paragraph for each alert, and
// dashboards. It is data; `egov-gateway monitoring write DIR` hands it out.
package monitoring

import "embed"

// FS holds the files under their paths in this folder.
//
//go:embed METRICS.md RUNBOOK.md rules dashboards
var FS embed.FS
