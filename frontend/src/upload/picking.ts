/** Files from a file dialog, a folder dialog, or a dropped tree. */

export interface Picked {
  file: File;
  /** Path in the chosen folder; with size and date it tells a file from another. */
  path: string;
}

export function chosen(input: HTMLInputElement): Picked[] {
  return [...(input.files ?? [])].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
}

/** Every file below what was dropped. Must be called during the event. */
export async function dropped(transfer: DataTransfer): Promise<Picked[]> {
  // The list of items is only valid during the event: take all entries before waiting.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry());
  const found: Picked[] = [];
  for (const entry of entries) if (entry) await collect(entry, found);
  return found;
}

async function collect(entry: FileSystemEntry, found: Picked[]): Promise<void> {
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => {
      (entry as FileSystemFileEntry).file(resolve, reject);
    });
    found.push({ file, path: entry.fullPath.replace(/^\//, '') });
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  for (;;) {
    // A folder is read in portions; an empty one is the end.
    const portion = await new Promise<FileSystemEntry[]>((resolve, reject) => {
      reader.readEntries(resolve, reject);
    });
    if (portion.length === 0) return;
    for (const child of portion) await collect(child, found);
  }
}
