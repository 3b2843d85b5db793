/** Participants of the other kinds as methods of providers: TCC, undo, XA. */
import 'reflect-metadata'
import {
  Cancel,
  ConcordatModule,
  ConcordatService,
  Confirm,
  Sink,
  Try,
  UndoParticipant,
  XaParticipant,
} from '@concordat/nest'
import { Injectable } from '@nestjs/common'
import { Test } from '@nestjs/testing'
import { defineChannel } from 'concordat/binder'
import { pgliteClient } from 'concordat/core/pglite'
import { memoryTransport } from 'concordat/memory'
import { defineSaga, type ParticipantContext, Refusal } from 'concordat/saga'
import { type TccParticipantContext } from 'concordat/saga/tcc'
import { undo } from 'concordat/saga/undo'
import { type XaContext, type XaResource } from 'concordat/saga/xa'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { uniqueName } from '../../outbox/support/messages.ts'
import { freshPglite } from '../../support/pglite.ts'
import { until } from '../../support/until.ts'

const Night = z.object({ guest: z.string(), rooms: z.number().int() })
type Night = z.infer<typeof Night>
const rooms = defineChannel('rooms.commands', { payload: Night })
const points = defineChannel('points.commands', { payload: Night })
const ledger = defineChannel('ledger.commands', { payload: Night })

const booked = defineChannel('rooms.booked', { payload: Night })

const lines: string[] = []
const letters: string[] = []

@Injectable()
class Hotel {
  @Try(rooms, { group: 'hotel' })
  hold({ guest, rooms: wanted }: Night): { readonly held: number } {
    if (wanted > 10) throw new Refusal('hotel.full', 'no so many rooms')
    lines.push(`held ${guest}`)
    return { held: wanted }
  }

  @Confirm(rooms)
  async book(night: Night, { result, tx }: TccParticipantContext<{ readonly held: number }>): Promise<void> {
    lines.push(`booked ${night.guest} ${result.held}`)
    await tx.send(booked, night)
  }

  @Sink(booked, { group: 'letters' })
  write({ guest }: Night): void {
    letters.push(guest)
  }

  @Cancel(rooms)
  release({ guest }: Night, { tried }: TccParticipantContext): void {
    lines.push(`released ${guest} ${tried}`)
  }
}

@Injectable()
class Points {
  @UndoParticipant(points, { group: 'points' })
  async take({ guest, rooms: wanted }: Night, { tx }: ParticipantContext): Promise<void> {
    await tx.query('UPDATE guest_points SET points = points - $2 WHERE guest = $1', [guest, wanted])
  }
}

const stay = defineSaga('stay', { version: 1, input: Night })
  .tcc('points', { to: points, request: ({ input }) => input })
  .tcc('rooms', { to: rooms, request: ({ input }) => input })

describe('TCC and undo', () => {
  const database = freshPglite()
  const sql = pgliteClient(database)
  let service: ConcordatService
  let close: () => Promise<void>
  beforeAll(async () => {
    await database.waitReady
    const schema = uniqueName('kinds')
    const root = ConcordatModule.forRoot({ name: 'hotel', transport: memoryTransport(), sql, schema, sagas: [stay] })
    const module = await Test.createTestingModule({ imports: [root], providers: [Hotel, Points] }).compile()
    await module.init()
    service = module.get(ConcordatService)
    await sql.query('CREATE TABLE guest_points (guest text PRIMARY KEY, points int NOT NULL)')
    await sql.query("INSERT INTO guest_points VALUES ('ann', 100), ('bob', 100)")
    await undo.protect(sql, ['guest_points'], { schema })
    close = () => module.close()
  }, 120_000)
  afterAll(async () => {
    await close()
    await database.close()
  })
  const pointsOf = async (guest: string) =>
    (await sql.query<{ points: number }>('SELECT points FROM guest_points WHERE guest = $1', [guest])).rows[0]?.points
  const ended = async (id: string, input: Night) => (await (await service.run(stay, { id, input })).outcome()).status

  test('are confirmed by methods of the class that tried', async () => {
    expect(await ended('s-1', { guest: 'ann', rooms: 2 })).toBe('completed')
    expect(lines).toEqual(['held ann', 'booked ann 2'])
    expect(await pointsOf('ann')).toBe(98)
    await until('the letter is written', () => letters.length > 0)
    expect(letters).toEqual(['ann'])
  })

  test('are taken back when one refuses: rows are as they were', async () => {
    expect(await ended('s-2', { guest: 'bob', rooms: 20 })).toBe('compensated')
    expect(await pointsOf('bob')).toBe(100)
    expect(lines.filter((line) => line.includes('bob'))).toEqual([])
  })
})

describe('a class', () => {
  const started = async (provider: new () => object, more: object = {}): Promise<string> => {
    const root = ConcordatModule.forRoot({ name: 'wrong', transport: memoryTransport(), ...more })
    return Test.createTestingModule({ imports: [root], providers: [provider] })
      .compile()
      .then((module) => module.init())
      .then(
        (module) => module.close().then(() => 'started'),
        (error: Error) => error.message,
      )
  }
  class NoCancel {
    @Try(rooms, { group: 'hotel' })
    hold(): void {}
    @Confirm(rooms)
    book(): void {}
  }
  class NoTry {
    @Cancel(rooms)
    release(): void {}
  }
  class OtherChannel {
    @Try(rooms, { group: 'hotel' })
    hold(): void {}
    @Confirm(rooms)
    book(): void {}
    @Cancel(points)
    release(): void {}
  }

  test.each([
    [NoCancel, 'NoCancel.hold @Try("rooms.commands")', 'one method of the same class with @Cancel of this channel'],
    [NoTry, 'NoTry.release @Cancel("rooms.commands")', 'one method of the same class with @Try of this channel'],
    [OtherChannel, 'OtherChannel.hold @Try("rooms.commands")', '@Cancel of this channel'],
  ])('%o with a part of a participant does not start', async (provider, where, remedy) => {
    const message = await started(provider)
    expect(message).toContain(where)
    expect(message).toContain(remedy)
  })

  test('has an XA participant in one method, with the resource that it names', async () => {
    const asked: string[] = []
    const resource = {
      name: 'ledger',
      prepare: () => {},
      look: () => {},
      end: () => {},
      old: async () => [],
      ready: async () => void asked.push('ready'),
    }
    class Ledger {
      @XaParticipant(ledger, { group: 'ledger', resource: resource as unknown as XaResource<{ write(): void }> })
      enter(_night: Night, { tx }: XaContext<{ write(): void }>): void {
        tx.write()
      }
    }
    const database = freshPglite()
    const more = { sql: pgliteClient(database), schema: uniqueName('kinds') }
    expect(await started(Ledger, more)).toBe('started')
    expect(asked).toEqual(['ready'])
    await database.close()
  })

  test('rejects a wrong declaration at its place', () => {
    expect(() => XaParticipant(ledger, { group: '' })).toThrow('xaParticipant("ledger.commands").group')
    expect(() => UndoParticipant(points, { group: 'p', alsoWrites: 1 } as never)).toThrow('alsoWrites')
    expect(() => Try(undefined as never, { group: 'p' })).toThrow('@Try')
    expect(() => Try(rooms, { grup: 'p' } as never)).toThrow('tccParticipant("rooms.commands")')
  })
})
