// Package tracing carries the trace of a request through the parts, as W3C Trace Context
// (https://www.w3.org/TR/trace-context/). The span at hand travels in the context like the deadline;
// who starts another asks it for its provider, so that no part is configured. Without tracing
// everything here does nothing. Names and attributes come from closed lists: steps, systems, route
// patterns, reasons. Personal data never stands in a span.
package tracing

import (
	"context"
	"encoding/hex"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"egov-gateway/gateway"
)

// Header is the HTTP header, and the property of SHEP's messages, that carries the context.
const Header = "traceparent"

const scope = "egov-gateway"

// Parent writes the context of the span at hand as a traceparent; "" without one.
func Parent(ctx context.Context) string {
	s := trace.SpanContextFromContext(ctx)
	if !s.IsValid() {
		return ""
	}
	return "00-" + s.TraceID().String() + "-" + s.SpanID().String() + "-" + s.TraceFlags().String()
}

// With puts the span that a traceparent names into a context, as that of another process. What is
// no traceparent of version 00 is left out: a trace is never worth a refusal.
func With(ctx context.Context, parent string) context.Context {
	if len(parent) != 55 || parent[:3] != "00-" || parent[35] != '-' || parent[52] != '-' || strings.ToLower(parent) != parent {
		return ctx
	}
	id, err := trace.TraceIDFromHex(parent[3:35])
	if err != nil {
		return ctx
	}
	span, err := trace.SpanIDFromHex(parent[36:52])
	if err != nil {
		return ctx
	}
	flags, err := hex.DecodeString(parent[53:])
	if err != nil {
		return ctx
	}
	return trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span, TraceFlags: trace.TraceFlags(flags[0]) & trace.FlagsSampled, Remote: true}))
}

// Start begins a span below the one at hand, with attributes in pairs. end takes the reason it
// ended with, "" for success.
func Start(ctx context.Context, name string, pairs ...string) (_ context.Context, end func(gateway.Reason)) {
	return Begin(ctx, trace.SpanFromContext(ctx).TracerProvider(), trace.SpanKindInternal, name, pairs...)
}

// Call begins a span for a question to another system.
func Call(ctx context.Context, system string) (context.Context, func(gateway.Reason)) {
	return Begin(ctx, trace.SpanFromContext(ctx).TracerProvider(), trace.SpanKindClient, "call "+system, "system", system)
}

// Begin is Start with a provider, for those who have no span at hand yet.
func Begin(ctx context.Context, p trace.TracerProvider, kind trace.SpanKind, name string, pairs ...string) (context.Context, func(gateway.Reason)) {
	var attributes []attribute.KeyValue
	for i := 0; i+1 < len(pairs); i += 2 {
		attributes = append(attributes, attribute.String(pairs[i], pairs[i+1]))
	}
	ctx, span := p.Tracer(scope).Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(attributes...))
	return ctx, func(r gateway.Reason) {
		if r != "" {
			span.SetAttributes(attribute.String("reason", string(r)))
			span.SetStatus(codes.Error, string(r))
		}
		span.End()
	}
}
