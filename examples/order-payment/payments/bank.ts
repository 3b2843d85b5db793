/** The bank: an outside system, here a stand-in that knows one bad card. */
export interface BankRequest {
  /** Idempotency key: asking again under the same key is the same question. */
  readonly key: string
  readonly customer: string
  readonly card: string
  readonly amountCents: number
}

export interface Bank {
  /**
   * Banks take one request per customer at a time and turn down a second one that comes meanwhile.
   * @throws Error when the customer has a request under way
   */
  authorize(request: BankRequest): Promise<'approved' | 'declined'>
}

const DECLINED_CARD = 'tok_declined'

export function standInBank(): Bank {
  const busy = new Set<string>()
  return {
    async authorize({ customer, card }) {
      if (busy.has(customer)) throw new Error(`bank: another request of customer "${customer}" is under way`)
      busy.add(customer)
      await new Promise((resolve) => setImmediate(resolve))
      busy.delete(customer)
      return card === DECLINED_CARD ? 'declined' : 'approved'
    },
  }
}
