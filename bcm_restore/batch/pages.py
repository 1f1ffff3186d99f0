"""Files of several pages, or frames: each is restored as a separate picture."""

import dataclasses

from ..errors import NothingToRestore
from .observer import Observer
from .recipes.base import Loaded, Recipe, Result


def restore_pages(recipe: Recipe, loaded: Loaded, observer: Observer) -> Result | Exception:
    """Restores a file of several pages; pages with nothing to restore stay unchanged."""
    results: list[Result] = []
    skips: list[Exception] = []
    for page in (loaded, *loaded.more):
        try:
            copied = Result(page.picture, page.picture, remark=page.remark)
            results.append(copied if page.remark else recipe.restore([page], observer)[0])
        except NothingToRestore as skip:
            skips.append(skip)
            upright = page.picture.upright()
            results.append(Result(upright, upright, remark="copied: nothing to restore"))
        except Exception as error:
            return error
    if len(skips) == len(results):
        return skips[0]
    first, *others = results
    made = next((result for result in results if result.restoration), first)
    more = [result.after for result in others]
    return dataclasses.replace(made, before=first.before, after=first.after, more=more, pages=loaded.pages)
