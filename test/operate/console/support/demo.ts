/** `node --conditions=concordat-source test/operate/console/support/demo.ts`: the shop behind a console, to look at. */

import { createServer } from 'node:http'
import { createConsole } from '@concordat/console'
import { toNode } from 'concordat/core'
import { shopWorld } from './shop-world.ts'

const world = await shopWorld({ letters: 12, words: '' })
const { operator, services, bindings } = world
const page = createConsole({
  operator,
  services,
  bindings,
  title: 'shop (test)',
  authorize: () => ({ user: 'ann', allow: true }),
})
let n = 0
setInterval(() => {
  for (let each = Math.round(4 + 3 * Math.sin(++n / 20)); each > 0; each--) void world.pay(`p-${n}`)
}, 100)
createServer(toNode(page)).listen(4180, '127.0.0.1', () => process.stdout.write('http://127.0.0.1:4180/\n'))
