import { expect, it } from 'vitest'
import { gate } from '../../support/until.ts'
import { SharedConnection } from './inside.ts'

function setup() {
  let opened = 0
  const closed: number[] = []
  const shared = new SharedConnection(
    () => ++opened,
    async (connection) => void closed.push(connection),
  )
  return { shared, closed }
}

const fail = (): Promise<never> => Promise.reject(new Error('no leader'))
const itself = (connection: number): Promise<number> => Promise.resolve(connection)

it('a failed call costs no other one its connection, and the next one gets another', async () => {
  const { shared, closed } = setup()
  const answered = gate()
  const long = shared.use((connection) => answered.opened.then(() => connection))
  await expect(shared.use(fail)).rejects.toThrow('no leader')
  expect([await shared.use(itself), closed]).toEqual([2, []])
  answered.open()
  expect([await long, closed]).toEqual([1, [1]])
  await expect(shared.use(fail)).rejects.toThrow('no leader')
  expect(closed).toEqual([1, 2])
})

it('a call that fails by no fault of its connection keeps it', async () => {
  const { shared, closed } = setup()
  await expect(shared.use(fail, () => false)).rejects.toThrow('no leader')
  expect([await shared.use(itself), closed]).toEqual([1, []])
})

it('a close ends every connection once, in use or not', async () => {
  const { shared, closed } = setup()
  const answered = gate()
  const long = shared.use(() => answered.opened)
  await expect(shared.use(fail)).rejects.toThrow('no leader')
  await shared.use(itself)
  await shared.close()
  answered.open()
  await long
  expect(closed).toEqual([1, 2])
})
