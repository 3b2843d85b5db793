/**
 * Preloaded by short processes: V8 compiles WebAssembly, which PGlite is, for a quick start and not a second time for
 * speed. That second time is two fifths of a short run with PGlite.
 */
import { setFlagsFromString } from 'node:v8'

// Each flag alone has no effect, or compiles all of it for speed at once.
for (const flag of ['--liftoff-only', '--no-wasm-tier-up', '--no-wasm-dynamic-tiering']) setFlagsFromString(flag)
