package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/tracing"
)

// Tracing sends spans to an OpenTelemetry collector.
type Tracing struct {
	// Endpoint is where OTLP over HTTP is taken, like http://127.0.0.1:4318.
	Endpoint string `yaml:"endpoint"`
	// Sample is the share of the requests that are traced, from 0 to 1; a caller's own decision
	// comes first. 0 means 0.01.
	Sample float64 `yaml:"sample"`
}

const defaultSample = 0.01

func (t *Tracing) check() error {
	if t == nil {
		return nil
	}
	if u, err := url.Parse(t.Endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("tracing.endpoint: an address like http://127.0.0.1:4318 is expected")
	}
	if t.Sample < 0 || t.Sample > 1 {
		return errors.New("tracing.sample: a number from 0 to 1 is expected")
	}
	return nil
}

// tracer makes the provider of spans; nil without tracing.
func (b *builder) tracer() (*sdktrace.TracerProvider, error) {
	t := b.c.Tracing
	if t == nil {
		return nil, nil
	}
	u, err := url.Parse(t.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	o := []otlptracehttp.Option{otlptracehttp.WithEndpoint(u.Host), otlptracehttp.WithTimeout(5 * time.Second)}
	if u.Scheme == "http" {
		o = append(o, otlptracehttp.WithInsecure())
	}
	exporter, err := otlptracehttp.New(context.Background(), o...)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	share := t.Sample
	if share == 0 {
		share = defaultSample
	}
	v, _ := version()
	return sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter, sdktrace.WithBatchTimeout(time.Second)), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(share))),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "egov-gateway"), attribute.String("service.version", v)))), nil
}

// traced begins a span for each request at the doors, below the caller's if it sent one.
func traced(p trace.TracerProvider, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, end := tracing.Begin(tracing.With(r.Context(), r.Header.Get(tracing.Header)), p, trace.SpanKindServer, "door")
		defer end("")
		inner := r.WithContext(ctx)
		next.ServeHTTP(w, inner)
		r.Pattern = inner.Pattern // for the access log outside
		trace.SpanFromContext(ctx).SetAttributes(attribute.String("route", or(inner.Pattern, "none")))
	})
}

// stepTraced goes on with the trace that the request was accepted under.
func stepTraced(p trace.TracerProvider) func(context.Context, journal.Item, string) (context.Context, func(gateway.Reason)) {
	return func(ctx context.Context, it journal.Item, step string) (context.Context, func(gateway.Reason)) {
		if d, err := gateway.ReadDossier(it.Doc); err == nil {
			ctx = tracing.With(ctx, d.Trace)
		}
		return tracing.Begin(ctx, p, trace.SpanKindInternal, "step "+step, "shard", it.Shard, "request", string(it.ID))
	}
}

// traceID is that of the sampled trace that ctx belongs to, "" without one.
func traceID(ctx context.Context) string {
	if s := trace.SpanContextFromContext(ctx); s.IsSampled() {
		return s.TraceID().String()
	}
	return ""
}
