package main

import (
	"context"

	"go.opentelemetry.io/otel/trace"
)

// traceID is that of the sampled trace that ctx belongs to, "" without one.
func traceID(ctx context.Context) string {
	if s := trace.SpanContextFromContext(ctx); s.IsSampled() {
		return s.TraceID().String()
	}
	return ""
}
