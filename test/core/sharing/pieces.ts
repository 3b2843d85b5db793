/** Pieces of work that share transactions, and what holds for them in every way of sharing. */
import { expect } from 'vitest'
import { embedded } from '../../outbox/support/pglite.ts'
import type { Sharing, Work } from '../../support/sharing.ts'

/** Makes a piece that adds a row with its id, and then does more. */
export type MakePiece = (id: string, more?: Work) => Work

/** Ids of the rows that pieces added. */
export async function effects(): Promise<readonly string[]> {
  const { rows } = await embedded().query<{ id: string }>('SELECT id FROM effect ORDER BY id')
  return rows.map(({ id }) => id)
}

/** Runs three pieces together, and expects that the second one fails alone. */
export async function expectSecondFails(
  { run }: Sharing,
  pieces: readonly [Work, Work, Work],
  reason: object,
): Promise<void> {
  const ends = await Promise.allSettled(pieces.map((piece) => run(piece)))
  expect(ends.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  expect(ends[1]).toMatchObject({ reason })
}

/** A failed statement whose error was caught does not count as done. */
export async function expectCaughtFailureRefused({ run }: Sharing, piece: MakePiece): Promise<void> {
  const swallowing = piece('a', async (tx) => {
    await tx.query('SELECT * FROM missing').catch(() => undefined)
  })
  const ends = await Promise.allSettled([run(swallowing), run(piece('b'))])
  expect(ends[0]).toMatchObject({ status: 'rejected', reason: { code: 'core.sql_commit' } })
  expect(await effects()).toEqual(['b'])
}

/** A slow piece is called again when its first call has ended; the others take effect in between. */
export async function expectSlowPieceLeft({ run, clock }: Sharing, piece: MakePiece): Promise<void> {
  const [begun, end] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const calls = { made: 0, now: 0, most: 0 }
  const adding = piece('b', async () => {
    if (calls.made > 1) return
    begun.resolve()
    await end.promise
  })
  const slow: Work = async (tx) => {
    calls.made++
    calls.most = Math.max(calls.most, ++calls.now)
    await adding(tx).finally(() => calls.now--)
  }
  const [first, second, third] = [run(piece('a')), run(slow), run(piece('c'))]
  await begun.promise
  for (let ms = 0; ms <= 300; ms += 25) clock.move(25)
  await Promise.all([first, third])
  expect(await effects()).toEqual(['a', 'c'])
  expect(calls.made).toBe(1)
  end.resolve()
  await second
  expect(calls).toMatchObject({ made: 2, most: 1 })
  expect(await effects()).toEqual(['a', 'b', 'c'])
}
