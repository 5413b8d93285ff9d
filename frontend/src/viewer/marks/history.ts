/** Undo and redo of what the reader did to marks in this session, each through the server. */

/** One act. Both ways answer whether the server did it; a refusal has been shown by then. */
export interface Step {
  name: string;
  undo(): Promise<boolean>;
  redo(): Promise<boolean>;
}

export class History {
  private readonly done: Step[] = [];
  private readonly undone: Step[] = [];
  /** Acts go one after the other, as they were asked for. */
  private queue: Promise<unknown> = Promise.resolve();

  /** A new act: what was undone before it cannot be redone. */
  push(step: Step): void {
    this.done.push(step);
    this.undone.length = 0;
  }

  get undoable(): string | null {
    return this.done.at(-1)?.name ?? null;
  }

  get redoable(): string | null {
    return this.undone.at(-1)?.name ?? null;
  }

  /** The name of what was undone; null when there was nothing, or the server refused. */
  undo(): Promise<string | null> {
    return this.go(this.done, this.undone, (step) => step.undo());
  }

  redo(): Promise<string | null> {
    return this.go(this.undone, this.done, (step) => step.redo());
  }

  private go(from: Step[], to: Step[], act: (step: Step) => Promise<boolean>): Promise<string | null> {
    const run = async (): Promise<string | null> => {
      const step = from.at(-1);
      // A refused step stays where it is: the line may be back at the next try.
      if (!step || !(await act(step))) return null;
      from.splice(from.indexOf(step), 1);
      to.push(step);
      return step.name;
    };
    const result = this.queue.then(run);
    this.queue = result.catch(() => undefined);
    return result;
  }
}
