/** Spring Cloud Stream on RabbitMQ, configured for our direct exchanges. */
import { type Collector, rabbitOrders } from './collect.ts'
import type { Report } from './report.ts'

export async function rabbitSpringCases(report: Report, { binder, kept }: Collector): Promise<void> {
  const answers = () => kept.get('ri.payments') ?? []
  const { id } = await binder.send(rabbitOrders, { n: 1 })
  await report.check(
    'two Spring services answer one message: both come',
    [1, 2],
    () =>
      answers()
        .map((each) => (each.payload as { readonly by: number }).by)
        .toSorted((a, b) => a - b),
    () => answers().length === 2,
  )
  await report.check('with ids of their own, so that an inbox takes both', [2, false], () => [
    new Set(answers().map((each) => each.id)).size,
    answers().some((each) => each.id === id),
  ])
  await report.check('without the source and the key of the question', [false, [null, null]], () => [
    answers().some((each) => each.source === 'interop'),
    answers().map((each) => each.key),
  ])
}
