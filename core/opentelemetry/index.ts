/**
 * `Telemetry` on `@opentelemetry/api`:
 *
 *     const telemetry = openTelemetry()
 *     const binder = createBinder({ service, transport, bindings, telemetry })
 *
 * Register your SDK before you call it: the API hands out meters that do nothing until then, and never exchanges them. A
 * span is the active one inside a handler when a context manager is registered (`NodeSDK` does; else
 * `context.setGlobalContextManager(new AsyncLocalStorageContextManager())`).
 *
 * Propagation is W3C Trace Context, whatever global propagator is set: headers are the wire format of this package.
 *
 * @module
 */
export { openTelemetry } from './open-telemetry.ts'
