/** What is used of `@dbos-inc/dbos-sdk`. */
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
    ): (...args: Args) => Promise<{ getResult(options: { readonly pollingIntervalMs: number }): Promise<R> }>
    registerQueue(name: string, options: { readonly minPollingIntervalMs: number }): Promise<unknown>
    withNextWorkflowID<R>(id: string, work: () => Promise<R>): Promise<R>
  }
}

/** What a worker of DBOS says first: everything in one database, no words but errors. */
export function dbosConfig(url: string, connections: string): object {
  return {
    name: 'bench',
    systemDatabaseUrl: url,
    systemDatabasePoolSize: Number(connections),
    logLevel: 'error',
    runAdminServer: false,
  }
}
