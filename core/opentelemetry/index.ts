/**
 * `Telemetry` on `@opentelemetry/api`:
 *
 *     const telemetry = openTelemetry()
 *     const binder = createBinder({ service, transport, bindings, telemetry })
 *
 * Register your SDK before you call it: until then, the API returns meters without effect and never replaces them. Inside a
 * handler, the span is the active one if a context manager is registered (`NodeSDK` does so; otherwise
 * `context.setGlobalContextManager(new AsyncLocalStorageContextManager())`).
 *
 * Propagation is W3C Trace Context, whatever global propagator is set: headers are the wire format of this package.
 *
 * @module
 */
export { openTelemetry } from './open-telemetry.ts'
