/**
 * A service inside a Nest application: methods of providers handle messages; the service, its parts and its senders are injected.
 * Needs `@nestjs/common` and `@nestjs/core`.
 *
 *     @Module({ imports: [ConcordatModule.forRoot({ name: 'shop', transport, sql })], providers: [Receipts] })
 *     export class AppModule {}
 *
 *     @Injectable()
 *     export class Receipts {
 *       @Sink(orderConfirmed, { group: 'receipts' })
 *       async print(order: Order): Promise<void> {}
 *     }
 *
 * @module
 */
export {
  type ConcordatFeatureOptions,
  ConcordatModule,
  type ConcordatModuleAsyncOptions,
  type ConcordatModuleOptions,
} from './concordat-module.ts'
export {
  Cancel,
  Compensate,
  Confirm,
  type HandlerDecorator,
  Invoke,
  Processor,
  Sink,
  Source,
  Try,
  UndoParticipant,
  XaParticipant,
} from './decorators.ts'
export { ConcordatHealth, type ConcordatHealthResult } from './health.ts'
export {
  ConcordatService,
  InjectBus,
  InjectCoordinator,
  type InjectDecorator,
  InjectLocks,
  InjectOutbox,
  InjectSender,
  InjectService,
  type Sender,
} from './injection.ts'
