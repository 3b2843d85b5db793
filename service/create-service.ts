import { AssembledService } from './assembled-service.ts'
import { resolveService } from './options.ts'
import type { Service, ServiceOptions } from './service.ts'

/**
 * Puts a service together. Nothing is connected before `start`.
 * @throws TypeError / RangeError naming the option, of the service or of the part it belongs to
 */
export function createService<Sent extends string = never>(options: ServiceOptions<Sent>): Service<Sent> {
  return new AssembledService(resolveService(options))
}
