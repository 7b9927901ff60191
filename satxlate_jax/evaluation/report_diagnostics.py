"""The report's second half: where the model is good, how sharp it is, whether it agrees with itself, how sure it is."""

import math

from satxlate_jax.evaluation.baselines.methods import method_name
from satxlate_jax.evaluation.curves import draw_calibration, draw_spectra
from satxlate_jax.evaluation.ensemble_calibration import IDEAL
from satxlate_jax.evaluation.figures import Figures
from satxlate_jax.evaluation.groups import ALL
from satxlate_jax.evaluation.report_page import escape, format_number, render_table
from satxlate_jax.evaluation.results import Results
from satxlate_jax.evaluation.tables import DETAILS, detail_rows
from satxlate_jax.instruments import get_satellite

_EXACT = ("band", "wavelength_um")


def render_groups(results: Results) -> str:
    """RMSE by group of pixels, model beside one baseline."""
    groups = results.groups
    rows = []
    for band in results.scored_bands:
        for method in results.shown_methods:
            row = {"band": band.number, "method": method_name(method), "unit": band.unit}
            for group in groups:
                score = results.by_group.get((group, method, band.number))
                row[group] = score.figures()["rmse"] if score else math.nan
            rows.append(row)
    columns = {"band": "band", "method": "method", "unit": "unit"} | {group: group for group in groups}
    note = (
        "RMSE. Day: sun higher than 10 degrees; night: lower than 6 below the horizon. 'Cold or bright' (window below "
        "280 K or, by day, red reflectance above 0.35) is mostly cloud, 'warm and dark' mostly clear; water, "
        "vegetation and bare are parts of the latter by day. Simple tests on what the source measured, not a cloud "
        "mask. All figures are in scores_by_group.csv."
    )
    table = render_table(rows, columns, exact=_EXACT)
    return f'<h2 id="groups">Where</h2><section>{table}<p class="soft">{escape(note)}</p></section>'


def render_sharpness(results: Results, figures: Figures) -> str:
    """Power by wavelength, effective resolution, percentiles of the error."""
    rows = detail_rows(results)
    for row in rows:
        row["method"] = method_name(row["method"])
    heads = ("|error| 50 %", "90 %", "99 %", "distributions apart", "sharpness", "resolved (km)")
    columns = {"band": "band", "method": "method", "unit": "unit"} | dict(zip(DETAILS, heads, strict=True))
    note = (
        "Half, 90 % and 99 % of the pixels have a smaller error. Distributions apart: first Wasserstein distance of "
        "those of output and truth. Sharpness: power of the output over that of the truth at wavelengths below 20 km; "
        "below 1 is too smooth. Resolved: the effective resolution, the shortest wavelength down to which the error "
        "has less than half the truth's power. The same numbers are in details.csv."
    )
    parts = ['<h2 id="sharpness">How sharp, how far off</h2><section>']
    caption = "Solid: power of the output over the truth's, 1 is right. Dotted: power of its error over the truth's."
    parts.append(figures.draw(lambda: draw_spectra(results), "spectra", caption))
    table = render_table(rows, columns, exact=_EXACT)
    return "".join([*parts, table, f'<p class="soft">{escape(note)}</p></section>'])


def render_consistency(results: Results) -> str:
    """There and back again, and agreement in the latent space."""
    task, consistency = results.comparison.task, results.consistency
    rows = []
    for number, score in sorted(consistency.cycle.items()):
        band = get_satellite(task.source).band(number)
        figures = score.figures()
        row = {"band": number, "wavelength_um": band.wavelength, "unit": band.unit}
        rows.append(row | {name: figures[name] for name in ("n", "bias", "rmse", "correlation")})
    columns = {"band": f"{task.source} band", "wavelength_um": "µm", "unit": "unit", "n": "pixels", "bias": "bias"}
    columns |= {"rmse": "RMSE", "correlation": "correlation"}
    words = (
        f"There and back: {task.source} to {task.target} and back to {task.source}, against what {task.source} saw. "
        "A small error says that nothing is lost on the way, not that the way is right."
    )
    latent = consistency.latent_agreement()
    agreement = ""
    if latent:
        agreement = (
            f"In the latent space, {task.source}'s and {task.target}'s views of the same tile and time correlate by "
            f"{latent['correlation']:.3f} (median over channels); the difference is {latent['difference']:.2f} of the "
            f"fields' size (0 the same, 1.4 unrelated); their size is {latent['size']:.3g}, the noise in training is 1."
        )
    table = render_table(rows, columns, exact=_EXACT)
    paragraphs = "".join(f"<p>{escape(text)}</p>" for text in (words, agreement) if text)
    return f'<h2 id="consistency">Agreement with itself</h2><section>{paragraphs}{table}</section>'


def render_uncertainty(results: Results, figures: Figures) -> str:
    """Whether the spread over draws says how wrong the mean is; nothing where there were no draws."""
    if not results.samples:
        return ""
    rows = []
    for band in results.scored_bands:
        found = results.calibration[band.number].figures()
        rows.append({"band": band.number, "wavelength_um": band.wavelength} | found)
    ratios = [row["spread_to_error"] for row in rows]
    ideal = ", ".join(format_number(value, 3) for value in IDEAL.values())
    words = (
        f"The model's answer here is the mean of {results.samples} draws of the latent noise. A calibrated spread "
        f"would give {ideal} in the three columns; here the spread is {format_number(min(ratios), 2)} to "
        f"{format_number(max(ratios), 2)} of the error. It shows how much the output moves under the noise of "
        "training, not everything that is unknown."
    )
    columns = {"band": "band", "wavelength_um": "µm", "within_1": "within 1 spread", "within_2": "within 2 spreads"}
    columns |= {"spread_to_error": "spread over error"}
    caption = "Error by spread; on the line it is calibrated."
    figure = figures.draw(lambda: draw_calibration(results), "calibration", caption)
    table = render_table(rows, columns, exact=_EXACT)
    return f'<h2 id="uncertainty">How sure</h2><section><p>{escape(words)}</p>{table}{figure}</section>'


def has_groups(results: Results) -> bool:
    """Whether there is more than the group of all pixels."""
    return results.groups != [ALL]
