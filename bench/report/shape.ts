/** Schema of a report: users edit files, cut them off, or pass files that are not reports. */
import { z } from 'zod'

const target = z.union([z.object({ atLeast: z.number() }), z.object({ atMost: z.number() })])

const result = z.object({
  what: z.string(),
  ours: z.number(),
  peer: z.number().optional(),
  peerName: z.string().optional(),
  target: target.optional(),
  ratio: target.optional(),
})

const table = z
  .object({ title: z.string(), head: z.array(z.string()), rows: z.array(z.array(z.string())) })
  .superRefine(({ head, rows }, context) => {
    const odd = rows.findIndex((row) => row.length !== head.length)
    if (odd >= 0)
      context.addIssue({ code: 'custom', path: ['rows', odd], message: 'has another number of cells than its head' })
  })

const suite = z.object({
  // Not `min(1)`: zod compares any value that has a `length`, and such a `length` may not be comparable.
  name: z.string().regex(/\S/, 'is empty'),
  at: z.iso.datetime(),
  rounds: z.number(),
  tookS: z.number(),
  load: z.object({ before: z.number(), after: z.number() }),
  results: z.array(result),
  tables: z.array(table),
  leftOut: z.array(z.string()),
  failed: z.string().optional(),
})

const report = z.object({
  versions: z.record(z.string(), z.string()),
  machine: z.object({ cpu: z.string(), cores: z.number(), memoryGb: z.number() }),
  suites: z.array(suite).superRefine((suites, context) => {
    const names = suites.map(({ name }) => name)
    const twice = names.findIndex((name, at) => names.indexOf(name) < at)
    if (twice >= 0)
      context.addIssue({
        code: 'custom',
        path: [twice, 'name'],
        message: `two suites are called "${names[twice] ?? ''}"`,
      })
  }),
})

/** Returns the checked fields and drops all others; or names the first wrong field, and why: `suites[0].name: ...`. */
export function shapeOf(given: unknown): { readonly checked: z.infer<typeof report> } | { readonly mistake: string } {
  const { data, error } = report.safeParse(given)
  if (data !== undefined) return { checked: data }
  const [first] = error.issues
  return { mistake: first === undefined ? 'it is wrong' : `${placeOf(first.path)}: ${first.message}` }
}

function placeOf(path: readonly PropertyKey[]): string {
  const steps = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step)}`))
  return steps.join('').replace(/^\./, '')
}
