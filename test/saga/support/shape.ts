/** Shapes for tests of the pure machine. */
import type { RetryPolicy, SagaShape, StepShape } from '../../support/inside/saga.ts'

export function policy(maxAttempts: number): RetryPolicy {
  return { maxAttempts, backoff: { initialMs: 10, factor: 2, maxMs: 40, jitter: 0 } }
}

export function stepShape(name: string, more: Partial<StepShape> = {}): StepShape {
  return {
    name,
    remote: false,
    transactional: false,
    pivot: false,
    compensates: true,
    timeoutMs: 1_000,
    invoke: policy(2),
    compensate: policy(2),
    ...more,
  }
}

export function shape(...steps: StepShape[]): SagaShape {
  return { steps }
}
