"""Inpainting of files: a mask file, or the picture's own transparency, marks the hole."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import RestoreError
from .. import engine
from ..masks import MaskFile, Masks
from ..observer import Observer
from ..planning import Naming
from ..settings import Settings
from .base import Loaded, Result, TaskRecipe

if TYPE_CHECKING:
    import numpy as np
    from typing_extensions import Self

    from ...images import Picture
    from ...tasks import Restoration

WIDE = 60  # pixels across a hole


@dataclasses.dataclass(kw_only=True)
class InpaintRecipe(TaskRecipe):
    """Fills the holes that masks mark."""

    task: str = "inpaint"
    masks: Masks
    _warned: bool = dataclasses.field(default=False, init=False, repr=False)

    @classmethod
    def create(
        cls,
        settings: Settings,
        *,
        mask: str | Path | None = None,
        invert_mask: bool = False,
        mask_threshold: int | None = None,
        grow: int = 0,
        fit_mask: bool = False,
    ) -> "Self":
        """The recipe for the options of a user; see `Masks`.

        Raises:
            RestoreError: there is no mask.
        """
        if mask is None:
            raise RestoreError("inpaint needs a mask: give mask=FILE, mask=FOLDER or mask=alpha")
        masks = Masks(
            str(mask),
            invert=invert_mask,
            threshold=mask_threshold,
            grow=grow,
            fit=fit_mask,
            max_pixels=settings.max_pixels,
        )
        return cls(settings=settings, masks=masks)

    @property
    def naming(self) -> Naming:
        """See `Recipe`."""
        return Naming("_inpainted", "_inpainted", self.task)

    @property
    def apart(self) -> list[Path]:
        """The masks."""
        return self.masks.paths

    def fingerprint(self) -> dict[str, Any]:
        """See `Recipe`; includes how the masks are read."""
        masks = self.masks
        own = {"mask": masks.alpha, "invert": masks.invert, "grow": masks.grow, "fit": masks.fit}
        return super().fingerprint() | own | {"threshold": masks.threshold}

    def preload(self) -> None:
        """See `Recipe`."""
        self.masks.preload()

    def mask(self, source: Path) -> MaskFile | None:
        """See `Recipe`."""
        return self.masks.find(source)

    def load(self, source: Path, picture: "Picture", mask: MaskFile | None, original: "Picture") -> Loaded:
        """See `TaskRecipe`; adds the mask, which may be painted on a copy of the original."""
        marks = self.masks.marks(source, original, mask)
        remark = "" if marks.hole.any() else "copied: its mask is empty"
        found = f"mask: {marks.found}, taken as marked" if marks.found else ""
        return Loaded(source, picture, {"mask": marks.hole}, remark, found)

    def restore(self, several: Sequence[Loaded], observer: Observer) -> list[Result]:
        """See `Recipe`; notes wide holes. Hidden pixels that are not marked stay unchanged."""
        import numpy as np

        results = super().restore(several, observer)
        self._warn_of_wide(several, observer)
        for one, result in zip(several, results, strict=True):
            if one.picture.alpha is not None:
                hidden = (one.picture.alpha == 0) & ~one.inputs["mask"]
                np.copyto(result.after.pixels.T, one.picture.pixels.T, where=hidden.T)
        return results

    def _warn_of_wide(self, several: Sequence[Loaded], observer: Observer) -> None:
        """Notes wide holes, once per run."""
        if self._warned or not any(wide(one.inputs["mask"]) for one in several):
            return
        self._warned = True
        expected = f"holes wider than {WIDE} pixels get a smooth continuation, without texture or objects"
        if note := engine.small_model_note(self.engine.model, expected):
            observer.note(note)

    def result(self, picture: "Picture", restoration: "Restoration") -> Result:
        """See `TaskRecipe`; opaque if the transparent pixels were the hole."""
        found = super().result(picture, restoration)
        if not self.masks.alpha:
            return found
        return dataclasses.replace(found, after=dataclasses.replace(found.after, alpha=None))


def wide(hole: "np.ndarray") -> bool:
    """Whether a hole, bool (H, W), is too wide for a small model to fill with more than a smooth surface."""
    from ...tasks.inpaint import distances

    return any(found.max(initial=0.0) > WIDE / 2 for found in distances(hole, 5))
