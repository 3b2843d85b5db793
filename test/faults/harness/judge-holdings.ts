import type { Holding } from './holdings.ts'
import { tell } from './verdicts.ts'

/** Strictly rising in the order of grants, as far as that order is known; none twice. */
export function judgeTokens(holdings: readonly Holding[], violated: (evidence: string) => void): void {
  const byGrant = holdings.toSorted((a, b) => a.granted.at - b.granted.at)
  const byAsk = holdings.toSorted((a, b) => a.asked.at - b.asked.at)
  let highest: Holding | undefined
  let over = 0
  for (const holding of byAsk) {
    for (; byGrant[over] !== undefined && (byGrant[over] as Holding).granted.at < holding.asked.at; over += 1) {
      const earlier = byGrant[over] as Holding
      if (highest === undefined || earlier.token > highest.token) highest = earlier
    }
    if (highest !== undefined && holding.token <= highest.token) {
      violated(`${tell(highest.granted)}, and later ${tell(holding.granted)}`)
    }
  }
  for (const [token, own] of Map.groupBy(holdings, (holding) => holding.token)) {
    if (own.length > 1)
      violated(`token ${token} was given ${own.length} times: ${own.map(({ granted }) => tell(granted)).join(' and ')}`)
  }
}
