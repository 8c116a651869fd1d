//! A trace that goes on at another node: what one node does because of a message is part of what made another node
//! publish it.
//!
//! Nothing leaves this process: finished spans are kept in memory and printed. An application has an exporter of
//! `opentelemetry-otlp` in place of that, and the rest as it is here.

use std::{collections::HashMap, error::Error, time::Duration};

use opentelemetry::{Context, propagation::TextMapPropagator, trace::TracerProvider};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{InMemorySpanExporter, SdkTracerProvider, SpanData},
};
use scaleout::{Bus, Extensions, Message, Received, Traceparent};
use tracing::{Instrument, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let finished = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(finished.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("example"));
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))?;

    let alpha = scaleout::connect("memory:opentelemetry").await?;
    let beta = scaleout::connect("memory:opentelemetry").await?;
    let mut subscription = beta.subscribe(["orders"]);

    // On one node somebody orders something, which is a span.
    order(&alpha).instrument(info_span!("order")).await?;

    // On another node that has a consequence, which is a span as well, and a child of the first.
    let next = tokio::time::timeout(Duration::from_secs(5), subscription.recv()).await?;
    match next.ok_or("the bus closed")? {
        Received::Message(message) => {
            let span = info_span!("deliver");
            span.set_parent(context_of(&message))?;
            deliver(&message).instrument(span).await;
        }
        Received::Gap(gap) => return Err(format!("something is missing: {}", gap.reason()).into()),
    }
    for bus in [alpha, beta] {
        bus.close(Duration::from_secs(5)).await;
    }

    provider.force_flush()?;
    let spans = finished.get_finished_spans()?;
    let of = |name: &str| spans.iter().find(|span| span.name == name).ok_or(format!("no span `{name}`"));
    let (order, deliver) = (of("order")?, of("deliver")?);
    for span in [order, deliver] {
        print(span);
    }
    if order.span_context.trace_id() != deliver.span_context.trace_id() {
        return Err("the trace ends between the nodes".into());
    }
    if deliver.parent_span_id != order.span_context.span_id() || !deliver.parent_span_is_remote {
        return Err("the second span is no child of the first".into());
    }
    Ok(())
}

async fn order(bus: &Bus) -> Result<(), Box<dyn Error>> {
    bus.publish_with("orders", "tea for two", &extensions_of(&Span::current())?).await?;
    Ok(())
}

async fn deliver(message: &Message) {
    println!("{} of {}", String::from_utf8_lossy(message.payload()), message.node());
}

/// What makes a message part of the trace of `span`; nothing where that is not traced.
fn extensions_of(span: &Span) -> Result<Extensions, scaleout::Error> {
    let mut headers = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut headers);
    Ok(match headers.get("traceparent") {
        Some(traceparent) => Extensions::default().with_traceparent(traceparent.parse()?),
        None => Extensions::default(),
    })
}

/// The trace that a message is part of.
fn context_of(message: &Message) -> Context {
    let traceparent = message.traceparent();
    let headers = traceparent.iter().map(|text: &Traceparent| ("traceparent".to_owned(), text.to_string()));
    TraceContextPropagator::new().extract(&headers.collect::<HashMap<_, _>>())
}

fn print(span: &SpanData) {
    let context = &span.span_context;
    println!(
        "{}: trace {}, span {}, parent {}",
        span.name,
        context.trace_id(),
        context.span_id(),
        span.parent_span_id
    );
}
