/** A shop as a Nest application: what its e2e test runs. */

import {
  Compensate,
  ConcordatHealth,
  ConcordatModule,
  ConcordatService,
  InjectCoordinator,
  InjectLocks,
  InjectSender,
  Invoke,
  Processor,
  type Sender,
  Sink,
  Source,
} from '@concordat/nest'
import {
  type ArgumentsHost,
  type BeforeApplicationShutdown,
  Body,
  Catch,
  Controller,
  type ExceptionFilter,
  Get,
  HttpCode,
  Inject,
  Injectable,
  Module,
  type OnApplicationShutdown,
  Param,
  Post,
} from '@nestjs/common'
import { APP_FILTER, HttpAdapterHost } from '@nestjs/core'
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus'
import { defineChannel, type HandlerContext, type TransactionContext } from 'concordat/binder'
import { ConcordatError, type Logger, type SqlClient } from 'concordat/core'
import type { Locks } from 'concordat/locks'
import { memoryLocks, memoryTransport } from 'concordat/memory'
import { defineSaga, type ParticipantContext, Refusal } from 'concordat/saga'
import type { Coordinator } from 'concordat/saga/coordinator'
import { httpProblem } from 'concordat/service'
import { z } from 'zod'
import { gate } from '../../support/until.ts'

export const Order = z.object({ orderId: z.string(), cents: z.number().int() })
export type Order = z.infer<typeof Order>
const options = { payload: Order, key: (order: Order) => order.orderId }
export const placed = defineChannel('orders.placed', options)
export const invoiced = defineChannel('orders.invoiced', options)
export const receipts = defineChannel('orders.receipts', options)
export const ticks = defineChannel('clock.ticks', { payload: z.object({ n: z.number() }) })
export const charges = defineChannel('payments.commands', { payload: Order })

/** Events, in order. */
@Injectable()
export class Journal {
  readonly lines: string[] = []
  /** Orders named `slow` are handled when it is open. */
  readonly slow = gate()
}

/** The steps call a provider, so the definition is one too. */
export const PLACE_ORDER = Symbol('place order')
const placeOrder = (journal: Journal) =>
  defineSaga('place-order', { version: 1, input: Order })
    .command('charge', { to: charges, request: ({ input }) => input, compensate: true })
    .step('confirm', {
      pivot: true,
      invoke: ({ input }) => {
        journal.lines.push(`confirmed ${input.orderId}`)
      },
    })
export type PlaceOrder = ReturnType<typeof placeOrder>

@Injectable()
export class Invoices implements BeforeApplicationShutdown, OnApplicationShutdown {
  #ticks = 0
  private readonly journal: Journal
  constructor(journal: Journal) {
    this.journal = journal
  }

  @Processor(placed, invoiced, { group: 'invoices' })
  async invoice(order: Order): Promise<Order> {
    if (order.orderId.startsWith('slow')) {
      this.journal.lines.push(`began ${order.orderId}`)
      await this.journal.slow.opened
    }
    return { ...order, cents: order.cents + 1 }
  }

  @Sink(invoiced, { group: 'receipts', once: true })
  async receipt(order: Order, { tx }: TransactionContext): Promise<void> {
    const { rows } = await tx.query<{ n: number }>('SELECT $1::int + 1 AS n', [order.cents])
    this.journal.lines.push(`receipt ${order.orderId} ${rows[0]?.n}`)
  }

  @Sink(receipts, { group: 'printer' })
  print({ orderId }: Order, { group }: HandlerContext): void {
    this.journal.lines.push(`${group} ${orderId}`)
  }

  @Source(ticks, { everyMs: 60_000 })
  tick() {
    return { n: ++this.#ticks }
  }

  @Sink(ticks, { group: 'ticks' })
  ticked({ n }: { readonly n: number }): void {
    this.journal.lines.push(`tick ${n}`)
  }

  beforeApplicationShutdown(): void {
    this.journal.lines.push('shutting down')
  }

  onApplicationShutdown(): void {
    this.journal.lines.push('pools close')
  }
}

@Injectable()
export class Payments {
  private readonly journal: Journal
  constructor(journal: Journal) {
    this.journal = journal
  }

  @Invoke(charges, { group: 'payments' })
  charge({ orderId, cents }: Order, { sagaId }: ParticipantContext) {
    if (cents > 10_000) throw new Refusal('payments.declined', 'over the limit')
    this.journal.lines.push(`charged ${orderId} ${sagaId}`)
    return { cents }
  }

  @Compensate(charges)
  refund({ orderId }: Order): void {
    this.journal.lines.push(`refunded ${orderId}`)
  }
}

@Controller()
export class Orders {
  @InjectLocks() private readonly locks!: Locks
  @InjectCoordinator() private readonly coordinator!: Coordinator
  private readonly service: ConcordatService
  private readonly saga: PlaceOrder
  private readonly receipts: Sender<Order>

  constructor(
    service: ConcordatService,
    @Inject(PLACE_ORDER) saga: PlaceOrder,
    @InjectSender(receipts) sender: Sender<Order>,
  ) {
    this.service = service
    this.saga = saga
    this.receipts = sender
  }

  @Post('orders')
  @HttpCode(202)
  async place(@Body() order: Order): Promise<{ readonly id: string }> {
    return this.locks.using(order.orderId, { ttlMs: 5_000 }, () => this.service.send(placed, order))
  }

  @Post('receipts')
  async print(@Body() order: Order): Promise<unknown> {
    return this.receipts.send(order)
  }

  @Post('sagas/:id')
  async run(@Param('id') id: string, @Body() input: Order): Promise<{ readonly status: string }> {
    const run = await this.service.transaction((tx) => tx.start(this.saga, { id, input }))
    const { status } = await run.outcome()
    return { status: this.coordinator.health().status === 'up' ? status : 'unwell' }
  }
}

/** Errors of the package as statuses, on any platform of Nest. */
@Catch(ConcordatError)
export class Problems implements ExceptionFilter<ConcordatError> {
  private readonly host: HttpAdapterHost
  constructor(@Inject(HttpAdapterHost) host: HttpAdapterHost) {
    this.host = host
  }

  catch(error: ConcordatError, host: ArgumentsHost): void {
    const { status, headers, body } = httpProblem(error) ?? {
      status: 422,
      headers: {},
      body: { error: { code: error.code } },
    }
    const { httpAdapter } = this.host
    const response = host.switchToHttp().getResponse<object>()
    for (const [name, value] of Object.entries(headers)) httpAdapter.setHeader(response, name, value)
    httpAdapter.reply(response, body, status)
  }
}

@Controller('health')
export class Health {
  private readonly checks: HealthCheckService
  private readonly concordat: ConcordatHealth

  constructor(checks: HealthCheckService, concordat: ConcordatHealth) {
    this.checks = checks
    this.concordat = concordat
  }

  @Get('ready')
  @HealthCheck()
  ready() {
    return this.checks.check([() => this.concordat.ready()])
  }

  @Get('live')
  @HealthCheck()
  live() {
    return this.checks.check([() => this.concordat.live('shop')])
  }
}

@Module({ providers: [Journal], exports: [Journal] })
export class JournalModule {}

@Module({
  imports: [JournalModule],
  providers: [{ provide: PLACE_ORDER, inject: [Journal], useFactory: placeOrder }],
  exports: [PLACE_ORDER],
})
export class SagaModule {}

@Module({
  imports: [JournalModule, SagaModule, TerminusModule, ConcordatModule.forFeature({ sends: [receipts] })],
  controllers: [Orders, Health],
  providers: [Invoices, Payments, { provide: APP_FILTER, useClass: Problems }],
})
export class ShopModule {}

/** The root, on this database. */
export function shop(sql: SqlClient, schema: string, logger?: Logger) {
  const root = ConcordatModule.forRootAsync({
    imports: [SagaModule],
    inject: [PLACE_ORDER],
    useFactory: (saga: PlaceOrder) => ({
      name: 'shop',
      transport: memoryTransport(),
      sql,
      schema,
      locks: memoryLocks(),
      sagas: [saga],
      sends: [placed],
      logger,
    }),
  })
  return [root, ShopModule]
}
