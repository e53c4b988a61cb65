// SPDX-License-Identifier: GPL-2.0
/*
 * The inline functions and macros of the network stack that net/ uses, as functions that Rust can
 * link to. One line each, nothing of our own but mbnic_softirq_delays_a_task().
 */
#include "helpers.h"

struct net_device *mbnic_alloc_etherdev(int sizeof_priv, unsigned int txqs, unsigned int rxqs)
{
	return alloc_etherdev_mqs(sizeof_priv, txqs, rxqs);
}

void *mbnic_netdev_priv(const struct net_device *dev)
{
	return netdev_priv(dev);
}

void mbnic_set_netdev_dev(struct net_device *dev, struct device *parent)
{
	SET_NETDEV_DEV(dev, parent);
}

void mbnic_set_netdev_ops(struct net_device *dev, const struct net_device_ops *ops)
{
	dev->netdev_ops = ops;
}

void mbnic_set_ethtool_ops(struct net_device *dev, const struct ethtool_ops *ops)
{
	dev->ethtool_ops = ops;
}

void mbnic_set_max_mtu(struct net_device *dev, unsigned int mtu)
{
	dev->max_mtu = mtu;
}

void mbnic_set_rx_queue_group(struct net_device *dev, const struct attribute_group *group)
{
	dev->sysfs_rx_queue_group = group;
}

struct net_device *mbnic_rx_queue_dev(const struct netdev_rx_queue *queue)
{
	return queue->dev;
}

unsigned int mbnic_rx_queue_index(struct netdev_rx_queue *queue)
{
	return get_netdev_rx_queue_index(queue);
}

void mbnic_eth_hw_addr_set(struct net_device *dev, const u8 *addr)
{
	eth_hw_addr_set(dev, addr);
}

void mbnic_netif_start_queue(struct net_device *dev)
{
	netif_start_queue(dev);
}

void mbnic_netif_stop_queue(struct net_device *dev)
{
	netif_stop_queue(dev);
}

void mbnic_netif_wake_queue(struct net_device *dev)
{
	netif_wake_queue(dev);
}

bool mbnic_netif_queue_stopped(const struct net_device *dev)
{
	return netif_queue_stopped(dev);
}

void mbnic_netif_tx_disable(struct net_device *dev)
{
	netif_tx_disable(dev);
}

void mbnic_netif_napi_add(struct net_device *dev, struct napi_struct *napi,
			  int (*poll)(struct napi_struct *napi, int budget))
{
	netif_napi_add(dev, napi, poll);
}

void mbnic_netif_napi_del(struct napi_struct *napi)
{
	netif_napi_del(napi);
}

void mbnic_local_bh_disable(void)
{
	local_bh_disable();
}

void mbnic_local_bh_enable(void)
{
	local_bh_enable();
}

bool mbnic_napi_schedule(struct napi_struct *napi)
{
	return napi_schedule(napi);
}

void mbnic_napi_gro_receive(struct napi_struct *napi, struct sk_buff *skb)
{
	napi_gro_receive(napi, skb);
}

struct net_device *mbnic_napi_dev(const struct napi_struct *napi)
{
	return napi->dev;
}

bool mbnic_softirq_delays_a_task(void)
{
	return in_serving_softirq() && !is_idle_task(current) &&
	       (!(current->flags & PF_KTHREAD) || !single_task_running());
}

unsigned int mbnic_skb_len(const struct sk_buff *skb)
{
	return skb->len;
}

int mbnic_skb_tailroom(const struct sk_buff *skb)
{
	return skb_tailroom(skb);
}

void mbnic_skb_put_data(struct sk_buff *skb, const void *data, unsigned int len)
{
	skb_put_data(skb, data, len);
}

bool mbnic_skb_has_room_for_frag(const struct sk_buff *skb)
{
	return skb_shinfo(skb)->nr_frags < MAX_SKB_FRAGS;
}

void mbnic_skb_add_rx_frag(struct sk_buff *skb, struct page *page, int off, int size)
{
	skb_add_rx_frag(skb, skb_shinfo(skb)->nr_frags, page, off, size, page_size(page));
}

void mbnic_skb_set_protocol(struct sk_buff *skb, struct net_device *dev)
{
	skb->protocol = eth_type_trans(skb, dev);
}

void mbnic_dev_kfree_skb_any(struct sk_buff *skb)
{
	dev_kfree_skb_any(skb);
}

void mbnic_dev_consume_skb_any(struct sk_buff *skb)
{
	dev_consume_skb_any(skb);
}

void mbnic_init_work(struct work_struct *work, work_func_t func)
{
	INIT_WORK(work, func);
}

void mbnic_schedule_work(struct work_struct *work)
{
	schedule_work(work);
}
