"""Events of the platform: to whom grants cover, once in each partition, whatever happens to the commit."""

from __future__ import annotations

import asyncio
import time

import pytest
from tests.making import draft, grant, new_app
from tests.worlds import World

from posthouse.domain.errors import StoreRejected
from posthouse.domain.event import Draft
from posthouse.domain.ids import AppId
from posthouse.ports.log import Announced, Appended, Repeated


async def an_app(world: World, partition: int, *grants: tuple[str, str]) -> AppId:
    """An app with grants of types and subjects."""
    app_id = new_app()
    await world.put_app(app_id, partition=partition)
    for types, subjects in grants:
        await world.put_grant(grant(app_id, types, subjects))
    return app_id


async def announce(world: World, made: Draft) -> Announced:
    (result,) = await world.log.append([made])
    assert isinstance(result, Announced)
    return result


def audience(result: Announced) -> dict[int, set[AppId]]:
    return {place.partition: set(place.audience) for place in result.places}


async def test_it_is_appended_once_to_each_partition_of_its_audience(world: World) -> None:
    first = await an_app(world, 1, ("order.*", "shop:42"))
    second = await an_app(world, 1, ("*", "*"))
    third = await an_app(world, 2, ("order.created", "shop:*"))
    await an_app(world, 3, ("order.created", "shop:7"))
    await an_app(world, 4, ("product.*", "shop:42"))
    made = draft(None, subject="shop:42", payload=b'{"total":1}')
    result = await announce(world, made)
    assert audience(result) == {1: {first, second}, 2: {third}}
    assert result.apps == 3
    versions = await world.log.heads([1, 2])
    for place in result.places:
        assert place.config_version == versions[place.partition].config_version
        (event,) = await world.log.read(place.partition, place.seq - 1, since=None)
        assert (event.id, event.seq, event.app_id) == (made.id, place.seq, None)
        assert event.audience == place.audience
        assert (event.type, event.subject, event.payload) == ("order.created", "shop:42", b'{"total":1}')


@pytest.mark.parametrize(
    ("types", "subjects", "about", "covered"),
    [
        ("*", "*", "shop:42", True),
        ("*", "*", None, True),
        ("*", "shop:*", None, False),
        ("*", "shop:*", "shop:42", True),
        ("*", "shop:*", "shop", False),
        ("*", "shop:*", "shops:42", False),
        ("*", "shop:42:*", "shop:42:item:7", True),
        ("*", "shop:42", "shop:42:item", False),
        ("*", "user:1 shop:42", "shop:42", True),
        ("order.*", "*", None, True),
        ("order.created", "*", None, True),
        ("order", "*", None, False),
        ("order.created.*", "*", None, False),
        ("product.* order.paid", "*", None, False),
    ],
)
async def test_who_is_covered(world: World, types: str, subjects: str, about: str | None, covered: bool) -> None:
    app_id = await an_app(world, 1, (types, subjects))
    result = await announce(world, draft(None, subject=about))
    assert result.apps == covered
    assert await world.store.covered(app_id, "order.created", about) == covered


async def test_several_grants_make_one_place_in_the_audience(world: World) -> None:
    app_id = await an_app(world, 1, ("*", "*"), ("order.*", "shop:*"), ("order.created", "shop:42"))
    result = await announce(world, draft(None, subject="shop:42"))
    assert [place.audience for place in result.places] == [(app_id,)]


async def test_an_audience_of_none_is_stored_once(world: World) -> None:
    made = draft(None)
    result = await announce(world, made)
    (place,) = result.places
    assert (place.audience, result.apps) == ((), 0)
    (event,) = await world.log.read(place.partition, place.seq - 1, since=None)
    assert (event.id, event.audience, event.app_id) == (made.id, (), None)


async def test_a_grant_that_ended_or_was_taken_away_covers_nothing(world: World) -> None:
    ended, revoked, deleted = [await an_app(world, n) for n in (1, 2, 3)]
    await world.put_grant(grant(ended, expires_at=time.time() - 5))
    taken = grant(revoked)
    await world.put_grant(taken)
    await world.remove_grant(taken)
    await world.put_grant(grant(deleted))
    await world.delete_app(deleted)
    lasting = await an_app(world, 4)
    await world.put_grant(grant(lasting, expires_at=time.time() + 3600))
    assert audience(await announce(world, draft(None))) == {4: {lasting}}


async def test_a_private_type_is_for_nobody(world: World) -> None:
    app_id = await an_app(world, 1, ("*", "*"))
    await world.make_private("secret.found")
    assert (await announce(world, draft(None, type="secret.found"))).apps == 0
    (direct,) = await world.log.append([draft(app_id, type="secret.found")])
    assert isinstance(direct, Appended), "but for an app that it is addressed to by name"


async def test_it_goes_with_others_in_one_batch_in_order(world: World) -> None:
    app_id = await an_app(world, 1, ("*", "*"))
    drafts = [draft(app_id), draft(None), draft(app_id), draft(None)]
    results = await world.log.append(drafts)
    assert [type(result) for result in results] == [Appended, Announced, Appended, Announced]
    read = await world.log.read(1, 0, since=None)
    assert [event.id for event in read] == [d.id for d in drafts]
    assert [event.seq for event in read] == [1, 2, 3, 4]


async def test_its_idempotency_key_is_the_platforms_own(world: World) -> None:
    app_id = await an_app(world, 1, ("*", "*"))
    first = draft(None, idempotency_key="k", fingerprint=b"1")
    await world.log.append([draft(app_id, idempotency_key="k", fingerprint=b"0")])
    assert isinstance((await world.log.append([first]))[0], Announced)
    await an_app(world, 2, ("*", "*"))  # a larger audience does not make it another event
    (again,) = await world.log.append([draft(None, idempotency_key="k", fingerprint=b"1")])
    assert isinstance(again, Repeated)
    assert (again.event_id, again.fingerprint) == (first.id, b"1")
    assert (await world.log.heads([2]))[2].seq == 0


async def test_appending_it_again_answers_as_the_first_time_whatever_was_granted_since(world: World) -> None:
    here = await an_app(world, 1)
    granted = grant(here)
    await world.put_grant(granted)
    made = draft(None)
    first = await announce(world, made)
    # Not one partition of the new audience is one of the old: nothing there is in the way of the event.
    await world.remove_grant(granted)
    await an_app(world, 2, ("*", "*"))
    assert await announce(world, made) == first
    assert (await world.log.heads([2]))[2].seq == 0


async def test_of_two_that_use_a_key_at_once_one_is_the_event(world: World) -> None:
    await an_app(world, 1, ("*", "*"))
    drafts = [draft(None, idempotency_key="k", fingerprint=b"") for _ in range(8)]
    answers = await asyncio.gather(*(world.log.append([d]) for d in drafts))
    announced = [d.id for d, (answer,) in zip(drafts, answers, strict=True) if isinstance(answer, Announced)]
    assert len(announced) == 1
    assert {answer.event_id for (answer,) in answers if isinstance(answer, Repeated)} == set(announced)


async def test_refused_data_leave_no_gap_in_any_partition(world: World) -> None:
    await an_app(world, 1, ("*", "*"))
    await an_app(world, 2, ("*", "*"))
    with pytest.raises(StoreRejected):
        await world.log.append([draft(None), draft(None, subject="a\0b")])
    result = await announce(world, draft(None))
    assert [(place.partition, place.seq) for place in result.places] == [(1, 1), (2, 1)]
