"""A shop on FastAPI and SQLAlchemy that tells third parties of its users and orders.

    python -m examples.fastapi_platform        the shop, its relay, a Posthouse server and a third party, in one command

Each handler writes its data and its event in one transaction: what is rolled back was never told.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from posthouse_sdk.outbox import emit, statements

# Any database that can hold an outbox will do: postgresql+asyncpg://…, mysql+aiomysql://…
engine = create_async_engine(f"sqlite+aiosqlite:///{os.environ.get('SHOP_DATABASE', 'shop.db')}")
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    name: Mapped[str] = mapped_column(primary_key=True)


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    shop: Mapped[int]
    amount_cents: Mapped[int]


class NewUser(BaseModel):
    name: str


class NewOrder(BaseModel):
    shop: int
    amount_cents: int


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:  # in a real platform: a migration of yours (`posthouse outbox sql`)
        await connection.run_sync(Base.metadata.create_all)
        for statement in statements(engine.dialect.name):
            await connection.exec_driver_sql(statement)
    yield
    await engine.dispose()


async def transaction() -> AsyncIterator[AsyncSession]:
    """A session whose transaction is committed after the handler, unless that raised."""
    async with sessions() as session, session.begin():
        yield session


Transaction = Annotated[AsyncSession, Depends(transaction, scope="function")]
app = FastAPI(title="Shop", lifespan=lifespan)


@app.post("/users", status_code=201)
async def register(user: NewUser, session: Transaction) -> NewUser:
    session.add(User(name=user.name))
    emit(session, "user_register", {"username": user.name}, subject=f"user:{user.name}")
    try:
        await session.flush()
    except IntegrityError:
        raise HTTPException(409, "that name is taken") from None  # and nobody hears of it
    return user


@app.post("/orders", status_code=201)
async def order(new: NewOrder, session: Transaction) -> dict[str, int]:
    made = Order(shop=new.shop, amount_cents=new.amount_cents)
    session.add(made)
    await session.flush()
    # One shop's events arrive in the order of its transactions, at endpoints that ask for order by key.
    data = {"order": made.id, "amount_cents": made.amount_cents}
    emit(session, "order_create", data, subject=f"shop:{new.shop}", key=f"shop:{new.shop}")
    return {"id": made.id}
