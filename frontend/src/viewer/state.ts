/** What the reader has set: kept per case in localStorage so that a reload resumes where they were. */
import type { Vec3 } from '../affine';
import type { ColormapName } from './colormaps';
import type { CompareMode } from './comparison';
import type { Framing, PaneName } from './stage';

export type Tool = 'window' | 'crosshair' | 'length' | 'probe' | 'align' | 'landmark';
export type Layout = 'mpr' | 'beside' | PaneName;

export interface LayerSettings {
  width: number;
  centre: number;
  colormap: ColormapName;
  invert: boolean;
  opacity: number;
  visible: boolean;
}

export interface State {
  /** LPS mm of the base volume's space; the panes cross here. */
  focus: Vec3 | null;
  /** Layer shown alone in its own space, or null for the fused view. */
  alone: number | null;
  /** Layer that window, presets and colour maps act on. */
  active: number | null;
  fusion: boolean;
  tool: Tool;
  layout: Layout;
  pane: PaneName;
  text: boolean;
  crosshair: boolean;
  marks: boolean;
  outlines: boolean;
  layers: Record<string, LayerSettings>;
  /** Which volume of a series is shown, by `seriesKey`; the main one where nothing was chosen. */
  siblings: Record<string, number>;
  framings: Partial<Record<PaneName, Framing>>;
  compare: CompareMode;
  /** Side of a checkerboard's tile, mm. */
  tile: number;
  /** Where the swipe divider stands, as a fraction of the pane. */
  divider: number;
  /** Edges from this share of the strongest on. */
  edge: number;
  /** Layer in the pane beside the reference, in layout `beside`. */
  beside: number | null;
  /** Step of the alignment keys, mm and degrees. */
  step: number;
}

export const FRESH: State = {
  focus: null,
  alone: null,
  active: null,
  fusion: true,
  tool: 'window',
  layout: 'mpr',
  pane: 'axial',
  text: true,
  crosshair: true,
  marks: true,
  outlines: true,
  layers: {},
  siblings: {},
  framings: {},
  compare: 'blend',
  tile: 30,
  divider: 0.5,
  edge: 0.3,
  beside: null,
  step: 1,
};

/** Raised when the meaning of a stored state changes; older ones are then dropped. */
const VERSION = 1;
const SAVE_AFTER_MS = 300;

export interface Storage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

export function loadState(storage: Storage, key: string): State {
  const stored = storage.getItem(key);
  if (!stored) return structuredClone(FRESH);
  const parsed = JSON.parse(stored) as { version?: number; state?: Partial<State> };
  if (parsed.version !== VERSION || !parsed.state) return structuredClone(FRESH);
  const state = { ...structuredClone(FRESH), ...parsed.state };
  // These two tools work on an open panel, which a reload closes.
  return state.tool === 'align' || state.tool === 'landmark' ? { ...state, tool: 'window' } : state;
}

type Listener = (state: State, changed: ReadonlySet<keyof State>) => void;

export class Store {
  private readonly listeners: Listener[] = [];
  private timer = 0;
  state: State;

  constructor(
    private readonly storage: Storage,
    private readonly key: string,
  ) {
    this.state = loadState(storage, key);
    window.addEventListener('pagehide', () => this.save());
  }

  patch(change: Partial<State>): void {
    this.state = { ...this.state, ...change };
    const changed = new Set(Object.keys(change) as (keyof State)[]);
    for (const listener of this.listeners) listener(this.state, changed);
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.save(), SAVE_AFTER_MS);
  }

  /** A layer shown alone has settings of its own: PET alone is black on white, fused it is not. */
  private settingsKey(id: number): string {
    return this.state.alone === id ? `${id}:alone` : String(id);
  }

  settings(id: number): LayerSettings | undefined {
    return this.state.layers[this.settingsKey(id)];
  }

  /** Settings of a layer seen for the first time; stored ones stay. */
  setDefault(id: number, make: () => LayerSettings): void {
    this.state.layers[this.settingsKey(id)] ??= make();
  }

  /** Settings of a layer that takes another's place. */
  remember(id: number, settings: LayerSettings): void {
    this.state.layers[this.settingsKey(id)] = settings;
  }

  patchLayer(id: number, change: Partial<LayerSettings>): void {
    const old = this.settings(id);
    if (!old) return;
    this.patch({ layers: { ...this.state.layers, [this.settingsKey(id)]: { ...old, ...change } } });
  }

  subscribe(listener: Listener): void {
    this.listeners.push(listener);
  }

  private save(): void {
    this.storage.setItem(this.key, JSON.stringify({ version: VERSION, state: this.state }));
  }
}
