/** What the reader has set: kept per case in localStorage so that a reload resumes where they were. */
import type { Vec3 } from '../affine';
import type { ColormapName } from './colormaps';
import type { CompareMode } from './comparison';
import type { MarkTool } from './marks/tools';
import type { PlaneFrame, Tilt, Turn } from './orientation';
import type { Projection } from './slab';
import type { Framing, PaneName } from './stage';

export type Tool = 'window' | 'crosshair' | 'zoom' | 'pan' | 'scroll' | 'magnify' | 'align' | 'landmark' | MarkTool;
/** All panes of the protocol (`mpr`), side by side, or one pane. */
export type Layout = 'mpr' | 'beside' | PaneName;

export interface LayerSettings {
  width: number;
  centre: number;
  colormap: ColormapName;
  invert: boolean;
  opacity: number;
  visible: boolean;
  /** Drawn voxel by voxel instead of smoothly. */
  nearest?: boolean;
  /** Below it, in the layer's unit, an overlay is clear. */
  threshold?: number | null;
}

/** What follows from one pane to the others. Windows: those of one layer. */
export interface Links {
  scroll: boolean;
  camera: boolean;
  window: boolean;
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
  /** Hanging protocol that the reader chose for this case; null: by preference, else by rule. */
  protocol: string | null;
  planes: PlaneFrame;
  /** Oblique planes, and whether the handles that turn them are shown. */
  tilts: Partial<Record<PaneName, Tilt>>;
  handles: boolean;
  turns: Partial<Record<PaneName, Turn>>;
  /** Slabs chosen by the reader; null: a plane, whatever the protocol says. */
  slabs: Partial<Record<PaneName, Projection | null>>;
  /** Degrees that a rotating MIP is turned. */
  angles: Partial<Record<PaneName, number>>;
  /** Where panes of a space of their own cut it, by layer. */
  cursors: Record<string, Vec3>;
  /** Where a pane stands while scrolling is not linked. */
  stands: Partial<Record<PaneName, Vec3>>;
  /** Windows and colours of a layer in one pane only, by `paneLookKey`. */
  paneLooks: Record<string, Partial<LayerSettings>>;
  links: Links;
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
  protocol: null,
  planes: 'acquisition',
  tilts: {},
  handles: false,
  turns: {},
  slabs: {},
  angles: {},
  cursors: {},
  stands: {},
  paneLooks: {},
  links: { scroll: true, camera: true, window: true },
  compare: 'blend',
  tile: 30,
  divider: 0.5,
  edge: 0.3,
  beside: null,
  step: 1,
};

/** True when a change is of one of these. */
export function touches(changed: ReadonlySet<keyof State>, ...keys: (keyof State)[]): boolean {
  return keys.some((key) => changed.has(key));
}

export const paneLookKey = (pane: PaneName, layer: number): string => `${pane}:${layer}`;

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
  let parsed: { version?: number; state?: Partial<State> };
  try {
    parsed = JSON.parse(stored) as typeof parsed;
  } catch {
    // Cut off or edited: a place and windows are lost, not the case.
    return structuredClone(FRESH);
  }
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
