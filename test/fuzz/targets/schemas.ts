/** Names that schema libraries give to the parts of a schema, in a document where channels have names as well. */
import { hostileText } from '../hostile.ts'
import { Schemas } from '../inside.ts'
import { check, target } from '../target.ts'

const CHANNELS = ['orders', 'box', 'orders.stock.dlq', 'constructor', '__proto__']
const COMPONENTS = '#/components/schemas/'

export const schemaParts = target({
  name: 'schema-parts',
  about: 'names of the parts of schemas, referred to in a document',
  input: (tape) => ({
    channel: CHANNELS[tape.below(CHANNELS.length)] as string,
    names: Array.from({ length: 1 + tape.below(4) }, () =>
      tape.once(2)
        ? hostileText(tape, 'item', 'an item', 'an_item', '100%', 'a/b', ...CHANNELS)
        : (CHANNELS[tape.below(CHANNELS.length)] as string),
    ),
  }),
  run({ channel, names }) {
    const own = [...new Set(names)]
    const schemas = new Schemas(CHANNELS)
    const root = {
      allOf: own.map((name) => ({ $ref: `#/definitions/${name}` })),
      definitions: Object.fromEntries(own.map((name, n) => [name, { const: n }])),
    }
    for (const each of CHANNELS) if (each !== channel) schemas.add(each, { title: each })
    schemas.add(channel, root)
    const all = schemas.all()
    for (const each of CHANNELS) if (each !== channel) check(all[each]?.['title'] === each, 'a channel lost its schema')
    const written = all[channel]?.['allOf'] as ReadonlyArray<{ readonly $ref: string }>
    for (const [n, { $ref }] of written.entries()) {
      const name = $ref.slice(COMPONENTS.length)
      check($ref.startsWith(COMPONENTS) && Object.hasOwn(all, name), `a reference points nowhere: ${$ref}`)
      check(all[name]?.['const'] === n, `a reference points to another part: ${$ref}`)
      check(/^[\w.-]+$/.test(name), `a name is not legal: ${name}`)
    }
  },
})
