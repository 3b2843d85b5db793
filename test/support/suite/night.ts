/**
 * Selects the work that a merge leaves to `npm run test:night`, which sets `CONCORDAT_NIGHT=1`: more seeds, more brokers, every statement
 * instead of every second one. Each guarantee keeps a test at every merge.
 */

export const isNight: boolean = process.env['CONCORDAT_NIGHT'] === '1'

/** Distance between the statements at which a test lets a process die or a connection break. */
export const STRIDE: 1 | 2 = isNight ? 1 : 2

/** The rows at night, and none otherwise. */
export function atNight<const Row>(...rows: readonly Row[]): readonly Row[] {
  return isNight ? rows : []
}

/** Number of random inputs of a property: all of them at night, a third at each merge, which draws others each time. */
export function inputs(count: number): number {
  return isNight ? count : Math.ceil(count / 3)
}
