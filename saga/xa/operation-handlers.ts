/**
 * Operations of an XA participant: `invoke` calls the handler and prepares, `confirm` commits the prepared transaction,
 * `compensate` rolls it back. Only one of the last two can succeed, because the server has the prepared transaction once.
 */
import type { Duties } from '../participant/operation-handlers.ts'
import { Committing } from './committing.ts'
import type { Handler, XaParts } from './handler-dependencies.ts'
import { Preparing } from './preparing.ts'
import { RollingBack } from './rolling-back.ts'

export function xaDuties<Request, Context>(
  parts: XaParts,
  handler: Handler<Request, Context>,
): Duties<Request, Context> {
  return {
    invoke: new Preparing(parts, handler),
    confirm: new Committing(parts),
    compensate: new RollingBack(parts),
  }
}
