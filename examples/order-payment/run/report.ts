/** The report that `--report` writes, and its faults. */
import { rename, writeFile } from 'node:fs/promises'
import type { InvalidLine } from '../intake/intake.ts'
import type { PaymentsPause } from '../operator/operator.ts'
import type { Audit } from './audit.ts'

export interface Report {
  readonly orders: {
    readonly read: number
    readonly invalid: number
    readonly duplicate: number
    readonly conflict: number
    readonly confirmed: number
    readonly declined: number
    readonly outOfStock: number
    readonly stuck: number
  }
  readonly ledger: Audit['ledger']
  readonly stock: Audit['stock']
  readonly invalidLines: readonly InvalidLine[]
  readonly receipts: number
  readonly leaderTerms: number
  readonly restarts: number
  /** Present with `--pause-payments-at`, if the payments were paused. */
  readonly pausedPayments?: PaymentsPause
  readonly elapsedMs: number
  readonly ordersPerSecond: number
}

export interface Measured {
  readonly invalidLines: readonly InvalidLine[]
  readonly restarts: number
  readonly pausedPayments?: PaymentsPause | undefined
  readonly elapsedMs: number
}

/** Builds the report from the tables, and from what only this process knows (`Measured`). */
export function makeReport(audit: Audit, { invalidLines, restarts, pausedPayments, elapsedMs }: Measured): Report {
  const { duplicate, conflict, confirmed, declined, outOfStock, stuck } = audit.orders
  const judged = duplicate + conflict + confirmed + declined + outOfStock + stuck
  const elapsed = Math.max(1, Math.round(elapsedMs))
  return {
    orders: {
      read: invalidLines.length + judged,
      invalid: invalidLines.length,
      duplicate,
      conflict,
      confirmed,
      declined,
      outOfStock,
      stuck,
    },
    ledger: { ...audit.ledger },
    stock: { ...audit.stock },
    invalidLines: [...invalidLines].toSorted((a, b) => a.line - b.line),
    receipts: audit.receipts,
    leaderTerms: audit.leaderTerms,
    restarts,
    ...(pausedPayments === undefined ? {} : { pausedPayments }),
    elapsedMs: elapsed,
    ordersPerSecond: Math.round((judged * 10_000) / elapsed) / 10,
  }
}

/** Describes the faults in words. The exit code is 0 only without faults. */
export function faultsOf(report: Report, audit: Audit): readonly string[] {
  const { orders } = report
  const faults = [...audit.faults]
  if (orders.stuck > 0) faults.push(`${orders.stuck} orders did not reach an end`)
  if (report.receipts !== orders.confirmed)
    faults.push(`${report.receipts} receipts for ${orders.confirmed} confirmed orders`)
  return faults
}

/** Writes the report atomically. */
export async function writeReport(path: string, report: Report): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`
  await writeFile(temporary, `${JSON.stringify(report, null, 2)}\n`)
  await rename(temporary, path)
}
