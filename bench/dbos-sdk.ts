/** The part of `@dbos-inc/dbos-sdk` that the bench uses. */
export interface DbosSdk {
  readonly DBOS: {
    setConfig(config: object): void
    launch(): Promise<void>
    registerWorkflow<Args extends unknown[], R>(
      work: (...args: Args) => Promise<R>,
      options: { readonly name: string },
    ): (...args: Args) => Promise<R>
    runStep<R>(work: () => Promise<R>, options: { readonly name: string }): Promise<R>
    /** Into a queue, when one is named. */
    startWorkflow<Args extends unknown[], R>(
      work: (...args: Args) => Promise<R>,
      options: { readonly queueName: string },
    ): (...args: Args) => Promise<DbosHandle<R>>
    registerQueue(name: string, options: { readonly minPollingIntervalMs: number }): Promise<unknown>
    withNextWorkflowID<R>(id: string, work: () => Promise<R>): Promise<R>
  }
  readonly DBOSClient: {
    create(options: object): Promise<DbosClient>
  }
}

export interface DbosHandle<R> {
  getResult(options: { readonly pollingIntervalMs: number }): Promise<R>
}

/** Client that puts work into the queues of another application. Its call is not a step by itself. */
export interface DbosClient {
  enqueue<Work extends (...args: never[]) => Promise<unknown>>(
    options: { readonly queueName: string; readonly workflowName: string; readonly workflowID: string },
    ...args: Parameters<Work>
  ): Promise<DbosHandle<Awaited<ReturnType<Work>>>>
}

/** Configuration of a DBOS worker: one database for everything, and only errors in the log. */
export function dbosConfig(url: string, connections: string): object {
  return {
    name: 'bench',
    systemDatabaseUrl: url,
    systemDatabasePoolSize: Number(connections),
    logLevel: 'error',
    runAdminServer: false,
  }
}
