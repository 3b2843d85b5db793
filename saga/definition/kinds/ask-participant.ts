/** Calls a participant in another service: by a message that is sent with the commit, or directly after it. */
import type { DirectTarget } from '../../direct/target.ts'
import type { SagaEvent } from '../../machine/event.ts'
import { type Commanded, encodeCommand } from '../../wire/wire.ts'
import type { PreparedCall } from './kind.ts'

/** @param kind required kind of the participant. @returns `yielded` when another process shall send the request */
export async function askParticipant(
  step: Commanded & { readonly at: DirectTarget | undefined },
  prepared: PreparedCall,
  kind?: string,
): Promise<SagaEvent | undefined> {
  const { row, state, sender } = prepared
  const { operation, attempt } = prepared.call
  if (step.at !== undefined && !prepared.mayAsk()) return { type: 'yielded', step: step.name }
  const sending = {
    saga: row.name,
    operation,
    attempt,
    birth: row.birth,
    round: state.round,
    kind,
    succeeded: state.succeeded,
  }
  const command = await encodeCommand(step, sending, sender, await prepared.context())
  step.at?.asking.requireSendable?.(command.body)
  prepared.send(command, step.at)
  return undefined
}
