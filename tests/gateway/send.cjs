// Sends 1,000 spans by OpenTelemetry's SDK for Node, of which 100 are tagged: node send.cjs http|proto URL FIRST COMPRESSION
const { TracerProvider, BatchSpanProcessor } = require('@opentelemetry/sdk-trace');

const [kind, url, first, compression] = process.argv.slice(2);
const { OTLPTraceExporter } = require('@opentelemetry/exporter-trace-otlp-' + kind);
const exporter = new OTLPTraceExporter({ url, compression });
const processor = new BatchSpanProcessor({ exporter, maxQueueSize: 4096 });
const provider = new TracerProvider({ spanProcessors: [processor] });
const tracer = provider.getTracer('site');
for (let number = 0; number < 1000; number++) {
  const span = tracer.startSpan('view');
  if (number % 10 === 0) {
    span.setAttributes({ 'ocm.event_type': 'course-save', 'ocm.course_id': 7, 'ocm.user_id': 'node-' + (Number(first) + number) });
  }
  span.end();
}
provider.shutdown();
