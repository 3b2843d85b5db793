import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { until } from '../../support/until.ts'
import { Link } from './link.ts'

let server: Server
let link: Link
let received: string
let clients: Socket[]

beforeEach(async () => {
  received = ''
  clients = []
  server = createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', (bytes) => {
      received += String(bytes)
      socket.write(`re:${String(bytes)}`)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  link = await Link.to((server.address() as AddressInfo).port)
})
afterEach(async () => {
  for (const client of clients) client.destroy()
  await link.close()
  server.close()
})

async function client() {
  const socket = connect(link.port, '127.0.0.1')
  clients.push(socket)
  const seen = { replies: '', ended: false }
  socket.on('data', (bytes) => (seen.replies += String(bytes)))
  socket.on('error', () => {})
  socket.on('close', () => (seen.ended = true))
  // A refused connection may be reset before its `connect` event.
  await once(socket, 'connect').catch(() => {})
  return { socket, seen }
}

it('a link passes bytes both ways', async () => {
  const { socket, seen } = await client()
  socket.write('a')
  await until('the reply', () => seen.replies === 're:a')
  expect(link.bitten).toBe(0)
})

it('a link holds requests back and delivers them later, even of a client that has gone', async () => {
  const { socket } = await client()
  link.hold('requests')
  socket.write('straggler')
  await until('it is held', () => link.bitten === 9)
  socket.destroy()
  await until('the client is gone', () => link.lost === 1)
  expect(received).toBe('')
  link.heal()
  await until('it arrives', () => received === 'straggler')
})

it('a link holds replies back while requests pass', async () => {
  const { socket, seen } = await client()
  link.hold('replies')
  socket.write('a')
  await until('it is received', () => received === 'a')
  await until('the reply is held', () => link.bitten === 4)
  expect(seen.replies).toBe('')
  link.heal()
  await until('the reply', () => seen.replies === 're:a')
})

it('a link keeps the order of slow bytes', async () => {
  const { socket, seen } = await client()
  const delays = [40, 1, 20, 1, 1, 1]
  link.slow(() => delays.shift() ?? 1)
  for (const text of ['a', 'b', 'c']) {
    socket.write(text)
    await until('it is on its way', () => link.bitten >= 1)
  }
  await until('all replies', () => seen.replies.replaceAll('re:', '') === 'abc')
})

it('a link cuts open connections and refuses new ones, until it heals', async () => {
  const { seen } = await client()
  link.cut()
  await until('it is cut', () => seen.ended)
  const refused = await client()
  await until('it is refused', () => refused.seen.ended)
  link.heal()
  const again = await client()
  again.socket.write('a')
  await until('the reply', () => again.seen.replies === 're:a')
})

it('a link tears one reply in half and resets the connection', async () => {
  const { socket, seen } = await client()
  link.tear()
  socket.write('abcdef')
  await until('it is reset', () => seen.ended)
  expect(received).toBe('abcdef')
  expect('re:abcdef'.startsWith(seen.replies)).toBe(true)
  expect(seen.replies.length).toBeLessThan(9)
})
