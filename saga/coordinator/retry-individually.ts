import { writeFault } from '../../core/write-fault.ts'

/**
 * Tries the members of a failed batch one by one, so that a member that never succeeds fails alone. If the server is unavailable
 * for one of them, the rest is rejected without an attempt, because each would wait for its own time limit.
 * @param attempt settles the member, or rejects
 */
export async function retryIndividually<Member extends { readonly reject: (error: unknown) => void }>(
  batch: readonly Member[],
  attempt: (member: Member) => Promise<void>,
): Promise<void> {
  for (const [index, member] of batch.entries()) {
    try {
      await attempt(member)
    } catch (error) {
      member.reject(error)
      if (writeFault(error) !== 'unavailable') continue
      for (const { reject } of batch.slice(index + 1)) reject(error)
      return
    }
  }
}
