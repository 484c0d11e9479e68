"""The SVG parses, its points lie where the values say, and its text is only text."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from research.report import curves
from research.report.curves import Series
from research.types import BadInput


def drawn(*series: Series) -> ElementTree.Element:
    return ElementTree.fromstring(curves.svg(series))


def places(line: ElementTree.Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (point.split(',') for point in line.attrib['points'].split())]


def test_larger_is_higher_and_later_is_further_right() -> None:
    svg = drawn(Series(name='a', x=[1, 2, 3], y=[3.0, 1.0, 2.0]), Series(name='b', x=[1, 5], y=[0.5, 0.5]))
    first, second = (places(line) for line in svg.iter('polyline'))
    assert first[0][0] < first[1][0] < first[2][0] < second[-1][0]
    assert first[0][1] < first[2][1] < first[1][1] < second[0][1]
    height = float(svg.attrib['viewBox'].split()[3])
    assert all(0 <= x <= curves.WIDTH and 0 <= y <= height for x, y in first + second)
    assert first[1][1] - first[2][1] == pytest.approx(first[2][1] - first[0][1], abs=0.2)  # a linear axis


def test_names_are_text_and_the_picture_stays_well_formed() -> None:
    name = '</script><img src=x onerror="alert(1)">\x00\ud800'
    svg = drawn(Series(name=name, x=[1, 2], y=[1.0, 2.0]))
    assert svg.find('img') is None
    (line,) = svg.iter('polyline')
    assert line.attrib['data-name'].startswith('</script><img src=x onerror="alert(1)">')


def test_one_point_is_a_dot_and_a_constant_has_an_axis() -> None:
    svg = drawn(Series(name='one pass', x=[1], y=[2.5]), Series(name='zero', x=[1, 2], y=[0.0, 0.0]))
    assert len(list(svg.iter('circle'))) == 2
    assert 'nan' not in ElementTree.tostring(svg, 'unicode')


def test_values_that_are_not_finite_are_left_out() -> None:
    svg = drawn(Series(name='a', x=[1, 2, 3], y=[1.0, math.nan, 2.0]), Series(name='b', x=[1], y=[math.inf]))
    assert [len(places(line)) for line in svg.iter('polyline')] == [2]
    with pytest.raises(BadInput, match='nothing to draw'):
        curves.svg([Series(name='b', x=[1], y=[math.inf])])


def test_a_wide_range_gets_a_logarithmic_axis() -> None:
    svg = drawn(Series(name='a', x=[1, 2, 3], y=[1.0, 10.0, 100.0]))
    (line,) = (places(line) for line in svg.iter('polyline'))
    assert line[0][1] - line[1][1] == pytest.approx(line[1][1] - line[2][1], abs=0.2)
    assert any('log scale' in (text.text or '') for text in svg.iter('text'))


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    svg = drawn(Series(name='a', x=list(range(5000)), y=[float(x % 7) for x in range(5000)]))
    (line,) = svg.iter('polyline')
    shown = line.attrib['data-x'].split()
    assert (len(shown), shown[0], shown[-1]) == (curves.POINTS, '0', '4999')


def test_a_band_lies_around_its_curve() -> None:
    svg = drawn(Series(name='a', x=[1, 2], y=[1.0, 2.0], lower=[0.5, 1.5], upper=[1.5, 2.5]))
    (band,), (line,) = (places(e) for e in svg.iter('polygon')), (places(e) for e in svg.iter('polyline'))
    assert band[0][1] < line[0][1] < band[-1][1]
    with pytest.raises(BadInput, match='one edge of a band'):
        curves.svg([Series(name='a', x=[1], y=[1.0], lower=[0.5])])


def test_many_curves_differ_in_colour_or_dashes() -> None:
    svg = drawn(*(Series(name=f'run {i}', x=[1, 2], y=[1.0, float(i)]) for i in range(20)))
    assert len({line.attrib['style'] for line in svg.iter('polyline')}) == 20


def test_a_first_value_far_off_does_not_flatten_the_rest() -> None:
    svg = drawn(Series(name='a', x=list(range(40)), y=[500.0, *(2.0 - i / 39 for i in range(39))]))
    (line,) = (places(line) for line in svg.iter('polyline'))
    assert line[-1][1] - line[2][1] > curves.PLOT * 0.9
    assert any('start cut off' in (text.text or '') for text in svg.iter('text'))
